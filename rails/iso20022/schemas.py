"""The XSDs that the signed release carries, compiled once (POL-09): schema facets are enforced with them.

A schema is used only if it is plain and self-contained, else ``RELEASE_SCHEMA_HOSTILE``: no DOCTYPE, no ``import``,
``include``, ``redefine`` or ``override``, no ``schemaLocation``; its target namespace is the message version that it is
named for; it has a ``Document`` (or, for the header, an ``AppHdr``); within ``SCHEMA_BYTES_MAX``.

What a refusal says is the element's path and the rule that it breaks, never its value (payload).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lxml import etree

from contracts.errors import CannotEvaluate, Refused
from rails.iso20022.envelope import ISO_NAMESPACE
from rails.iso20022.limits import DETAIL_CHARACTERS_MAX, SCHEMA_BYTES_MAX, SCHEMAS_MAX
from rails.iso20022.xml import parse

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_REACHING_OUT: Final = frozenset(_XS + name for name in ("import", "include", "redefine", "override"))
_RAIL: Final = "iso20022/"
_VALUE: Final = re.compile(r"The value '.*' (is not accepted|has a length|is not an element|is not a valid)", re.DOTALL)
_NAMESPACE: Final = re.compile(r"\{[^{}]*:[^{}]*\}")


class Schemas:
    """Compiled schemas by message version (``pacs.008.001.08``, ``head.001.001.02``)."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        """Compile those of this rail; raises ``CannotEvaluate RELEASE_SCHEMA_HOSTILE`` that names the first bad one."""
        mine = {name.removeprefix(_RAIL): source for name, source in sources.items() if name.startswith(_RAIL)}
        if len(mine) > SCHEMAS_MAX:
            raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"over {SCHEMAS_MAX} schemas")
        self._by_version = {version: _compile(version, source) for version, source in mine.items()}

    def __contains__(self, version: str) -> bool:
        return version in self._by_version

    def check(self, version: str, element: etree._Element, *, code: str) -> None:
        """Raise ``Refused(code)`` unless the element, as a root, fits the schema of its version."""
        schema = self._by_version[version]
        if schema.validate(element):
            return
        errors: list[etree._LogEntry] = list(schema.error_log)  # type: ignore[call-overload] # the stubs lack __iter__
        raise Refused(code, _explain(errors[0] if errors else None))


def _compile(version: str, source: bytes) -> etree.XMLSchema:
    if len(source) > SCHEMA_BYTES_MAX:
        raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"{version}: over {SCHEMA_BYTES_MAX} bytes")
    try:
        root = parse(source)
    except Refused as error:
        raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"{version}: {error.detail}") from error
    _check_plain(version, root)
    try:
        return etree.XMLSchema(root)
    except etree.XMLSchemaParseError as error:
        raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"{version}: {str(error)[:DETAIL_CHARACTERS_MAX]}") from error


def _check_plain(version: str, root: etree._Element) -> None:
    if root.tag != _XS + "schema" or root.get("targetNamespace") != ISO_NAMESPACE + version:
        raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"{version}: not the schema of {version}")
    for element in root.iter():
        if element.tag in _REACHING_OUT or any("schemaLocation" in str(name) for name in element.attrib):
            raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"{version}: reaches outside itself")
    wanted = "AppHdr" if version.startswith("head.") else "Document"
    if not any(e.get("name") == wanted for e in root.iterchildren(_XS + "element")):
        raise CannotEvaluate("RELEASE_SCHEMA_HOSTILE", f"{version}: declares no {wanted}")


def _explain(error: etree._LogEntry | None) -> str:
    if error is None:
        return "the schema does not hold"
    message = _VALUE.sub(r"the value \1", _NAMESPACE.sub("", error.message))
    return f"line {error.line}: {message}"[:DETAIL_CHARACTERS_MAX]
