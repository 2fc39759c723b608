"""Joins the sections of ``parts`` into ``verify.py``: one file, imports first, each section under its own heading."""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources

SECTIONS = ("findings", "tree", "trust", "log", "streams", "derive", "report", "contents", "main")
_OURS = "symphony.packet.parts"
_HEAD = '''#!/usr/bin/env python3
"""Verifies a Symphony evidence packet, offline: python3 verify.py [PACKET_DIR] [--root FILE] [--json]

One file: Python 3.11 or newer, the standard library and "cryptography". It trusts nothing of the operator but what
the custodians' root leads to. Licence: Apache-2.0.
"""
'''
_TAIL = '\n\nif __name__ == "__main__":\n    sys.exit(main())\n'


@cache
def verifier_source() -> str:
    """The text of ``verify.py``; the same for the same version of Symphony."""
    imports: set[str] = set()
    sections = [_section(name, imports) for name in SECTIONS]
    plain = sorted(line for line in imports if line.startswith("import "))
    named = sorted(line for line in imports if line.startswith("from "))
    return _HEAD + "\nfrom __future__ import annotations\n\n" + "\n".join(plain + named) + "".join(sections) + _TAIL


def _section(name: str, imports: set[str]) -> str:
    text = resources.files(_OURS).joinpath(f"{name}.py").read_text("utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    dropped: set[int] = set()
    heading = f"\n\n\n# {'-' * 100}\n# {name}\n#\n"
    for node in tree.body:
        if isinstance(node, ast.Expr) and node is tree.body[0]:
            documentation = ast.get_docstring(tree) or ""
            heading += "\n".join(f"# {line}".rstrip() for line in documentation.splitlines())
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _import(node, imports)
        else:
            continue
        dropped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    body = "\n".join(line for number, line in enumerate(lines, 1) if number not in dropped).strip("\n")
    return f"{heading}\n\n\n{body}"


def _import(node: ast.Import | ast.ImportFrom, imports: set[str]) -> None:
    if isinstance(node, ast.Import):
        imports.update(f"import {alias.name}" for alias in node.names)
    elif node.module != "__future__" and not str(node.module).startswith(_OURS):
        imports.update(f"from {node.module} import {alias.name}" for alias in node.names)
