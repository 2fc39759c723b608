"""The documents keep their word: links lead somewhere, and the commands that they name exist.

Rules:

* a relative link in any ``*.md`` names a file or folder of the checkout, and its ``#part`` a heading there;
* in a fenced ``console`` block a line ``$ symphony VERB …`` names a verb that exists, ``$ make TARGET`` a target;
* every dependency of ``requirements/*.in`` has its line in ``docs/dependencies.md`` (design section 14).

Usage: python -m scripts.check_docs        (exit 0; 1 with a line for each fault; 4 when there was nothing to check)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```console[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def documents(root: Path) -> list[Path]:
    """Every Markdown file that git knows or would add."""
    git = ["git", "-c", "safe.directory=*", "-C", str(root)]
    command = [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    return [root / name for name in sorted(set(names)) if name and (root / name).is_file()]


def headings(path: Path) -> set[str]:
    """The anchors of a document's headings, as forges make them."""
    found = re.findall(r"^#+ +(.+?)\s*$", _CODE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def broken_links(path: Path) -> Iterator[str]:
    """The links of one document that lead nowhere."""
    for link in _LINK.findall(_CODE.sub("", path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, part = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            yield f"{path.name}: {link} leads nowhere"
        elif part and target.suffix == ".md" and part not in headings(target):
            yield f"{path.name}: {link} names no heading"


def commands(path: Path) -> list[str]:
    """The command lines of the document's ``console`` blocks, without their ``$``."""
    blocks = _FENCE.findall(path.read_text("utf-8"))
    return [line[2:].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def targets(makefile: Path) -> set[str]:
    """The targets of a Makefile."""
    return set(re.findall(r"^([a-z][a-z0-9-]*):", makefile.read_text("utf-8"), re.MULTILINE))


def unknown_commands(path: Path, make_targets: set[str]) -> Iterator[str]:
    """Commands of one document that do not exist."""
    for line in commands(path):
        words = line.split("#")[0].split()
        if words[:1] == ["make"]:
            unknown = [word for word in words[1:] if "=" not in word and word not in make_targets]
            yield from (f"{path.name}: make {word} does not exist" for word in unknown)
        if words[:1] in (["symphony"], [".venv/bin/symphony"]):
            verbs = [word for word in words[1:3] if re.fullmatch(r"[a-z][a-z-]*", word)]
            if not _verb_exists(tuple(verbs)):
                yield f"{path.name}: symphony {' '.join(verbs)} does not exist"


def _verb_exists(verbs: tuple[str, ...]) -> bool:
    """By the real ``--help``; a second word may be an argument of the first."""
    program = Path(sys.executable).with_name("symphony")
    for words in (verbs, verbs[:1]):
        answer = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return True
    return False


def unexplained_dependencies(root: Path) -> Iterator[str]:
    """Dependencies without a line in ``docs/dependencies.md``."""
    explained = (root / "docs" / "dependencies.md").read_text("utf-8")
    for lock in sorted((root / "requirements").glob("*.in")):
        for line in lock.read_text("utf-8").split("\n"):
            name = re.split(r"[\[=<>~ ;]", line.strip())[0]
            if name and not name.startswith(("-", "#")) and f"`{name}`" not in explained:
                yield f"{lock.name}: {name} has no line in docs/dependencies.md"


def main() -> int:
    """Check everything; a line for each fault."""
    paths, make_targets = documents(ROOT), targets(ROOT / "Makefile")
    faults = [fault for path in paths for fault in (*broken_links(path), *unknown_commands(path, make_targets))]
    faults += unexplained_dependencies(ROOT)
    for fault in faults:
        print(fault)
    print(f"check_docs: {len(paths)} documents, {len(faults)} faults")
    return 1 if faults else 0 if paths else 4


if __name__ == "__main__":
    sys.exit(main())
