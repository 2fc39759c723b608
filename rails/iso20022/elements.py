"""Reading elements: direct children by local name, and the text of a leaf.

Trees here have elements and text only: the parser dropped the rest (``xml``). A child counts only in its parent's own
namespace, so that an element of another one cannot stand in for it.
"""

from __future__ import annotations

from lxml import etree

Children = dict[str, etree._Element]  # noqa: SLF001 - lxml's element type has no public name


def children(element: etree._Element | None) -> Children:
    """The first child of each local name."""
    found: Children = {}
    if element is not None:
        start = element.tag.rfind("}") + 1
        namespace = element.tag[:start]
        for child in element:
            tag = child.tag
            if tag.startswith(namespace) and "}" not in tag[start:]:
                found.setdefault(tag[start:], child)
    return found


def text_of(element: etree._Element | None) -> str | None:
    """The text of a leaf without the space around it; ``None`` if it is absent or blank."""
    if element is None or element.text is None:
        return None
    return element.text.strip() or None


def text_at(element: etree._Element | None, *path: str) -> str | None:
    """The text at a path of local names below ``element``."""
    for name in path:
        element = children(element).get(name)
        if element is None:
            return None
    return text_of(element)
