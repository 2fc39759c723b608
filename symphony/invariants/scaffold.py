"""``symphony invariants init`` and ``new``: first files for a repository that is not ours.

A file that is there is never written over; running ``init`` twice changes nothing. A new check says "nothing was seen" until
it is written, which is an error and never a pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path, PurePosixPath
from string import Template

from contracts.errors import Refused, SymphonyError
from symphony.invariants.databases import natural
from symphony.invariants.documents import MANIFEST
from symphony.invariants.manifest import load_manifest

FOLDER = "invariants"
CI: Mapping[str, tuple[str, str]] = {
    "github": ("github-actions.yml", ".github/workflows/invariants.yml"),
    "gitlab": ("gitlab-ci.yml", ".gitlab/invariants.gitlab-ci.yml"),
    "pre-commit": ("pre-commit-config.yaml", ".pre-commit-config.yaml"),
}
"""What can be written for a CI: the template, and where it goes."""
_WORD = re.compile(r"^[a-z][a-z0-9_-]{0,39}$")
_INCLUDE = "GitLab reads it once .gitlab-ci.yml has it: include: [{{local: /{}}}]"
_RELATIVE = re.compile(r"^(?!/)[A-Za-z0-9_./-]{1,200}$")
_GLOB = re.compile(r"^[A-Za-z0-9_.*?/\[\]-]{1,200}$")


@dataclass(frozen=True, slots=True)
class New:
    """What ``new`` is told of an invariant."""

    identifier: str
    title: str
    pillar: str
    severity: str
    owner: str
    sla_days: int
    database: str
    enforced_by: str


def init(root: Path, *, database: str, migrations: str, files: str, owner: str, ci: tuple[str, ...]) -> list[str]:
    """Write what is missing; a line for each file. Raises ``Refused CONFIGURATION`` for words that do not fit."""
    _fit("database", database, _WORD)
    _fit("owner", owner, _WORD)
    _fit("files", files, _GLOB)
    _fit("migrations", migrations, _RELATIVE)
    migrations = PurePosixPath(migrations).as_posix()
    if not any((root / migrations).glob(files)):
        raise Refused(
            "CONFIGURATION", f"no file matches {files} in {root / migrations}",
            next_step="say where the migrations are: --migrations FOLDER --files GLOB",
        )  # fmt: skip
    words = {
        "database": database, "migrations": migrations, "files": files, "owner": owner,
        "added": _added(root / migrations, files),
    }  # fmt: skip
    wanted = [
        ("manifest.yml", f"{FOLDER}/{MANIFEST}"), ("checks.sql", f"{FOLDER}/checks/{database}.sql"),
        ("mutations.yml", f"{FOLDER}/mutations/{database}.yml"),
    ]  # fmt: skip
    planned = [(root, place, _filled(template, words)) for template, place in wanted]
    planned += [_for_ci(root, one, words) for one in ci]
    said = [_write(base / place, content, place) for base, place, content in planned]
    return said + [_INCLUDE.format(place) for _, place, _ in planned if place.endswith(".gitlab-ci.yml")]


def _for_ci(root: Path, one: str, words: Mapping[str, str]) -> tuple[Path, str, str]:
    """Where a CI looks, the file's name there, its content: a service in a folder of a bigger repository names its manifest."""
    template, place = CI[one]
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
    inside = root.relative_to(top).as_posix()
    if inside == ".":
        return top, place, _filled(template, {**words, "at": "", "manifest": "", "job": "invariants"})
    _fit("the folder", inside, _GLOB)
    job = f"invariants-{inside.replace('/', '-')}"
    more = {"at": f"{inside}/", "manifest": f" --manifest {inside}/{FOLDER}", "job": job}
    return top, place.replace("/invariants.", f"/{job}."), _filled(template, {**words, **more})


def new(folder: Path, one: New) -> list[str]:
    """Add an entry to the manifest and an empty check to its SQL file. Raises ``Refused`` for an id that is there."""
    manifest = load_manifest(folder)
    taken = {name for entry in manifest.invariants for name in (entry.id, *entry.aliases)}
    if one.identifier in taken:
        raise Refused(
            "CONFIGURATION", f"{one.identifier} is there already", next_step=f"symphony invariants explain {one.identifier}"
        )  # fmt: skip
    _fit("database", one.database, _WORD)
    _fit("owner", one.owner, _WORD)
    words = {
        "identifier": one.identifier, "title": _quoted(one.title), "pillar": one.pillar, "severity": one.severity,
        "owner": one.owner, "sla_days": str(one.sla_days), "database": one.database, "file": one.database,
        "enforced_by": _quoted(one.enforced_by),
    }  # fmt: skip
    path, checks = folder / MANIFEST, folder / "checks" / f"{one.database}.sql"
    block = _filled("block.sql", {"identifier": one.identifier, "title": one.title.replace("\n", " ")})
    before = {place: place.read_text("utf-8") if place.exists() else None for place in (checks, path)}
    checks.parent.mkdir(exist_ok=True)
    checks.write_text((before[checks] or "").rstrip("\n") + "\n" + block, "utf-8")
    path.write_text((before[path] or "").rstrip("\n") + "\n" + _filled("entry.yml", words), "utf-8")
    try:
        load_manifest(folder)
    except SymphonyError:
        _restore(before)
        raise
    return [f"{path}: {one.identifier}", f"{checks}: an empty check; it is an error until you write it"]


def _restore(before: Mapping[Path, str | None]) -> None:
    """Half an invariant is none: both files are as they were."""
    for place, content in before.items():
        if content is None:
            place.unlink()
        else:
            place.write_text(content, "utf-8")


def _added(folder: Path, files: str) -> str:
    """A name that a mutation may add: beside the last migration that there is, and taken for one."""
    last = max((path for path in folder.glob(files)), key=lambda path: natural(str(path.relative_to(folder))))
    name = f"zz_broken_on_purpose{''.join(last.suffixes) or '.sql'}"
    return (last.relative_to(folder).parent / (name if fnmatch(name, Path(files).name) else f"zz_{last.name}")).as_posix()


def _write(path: Path, content: str, place: str) -> str:
    if path.exists():
        return f"there already: {place}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return f"wrote {place}"


def _filled(template: str, words: Mapping[str, str]) -> str:
    found = resources.files(__package__).joinpath("templates", f"{template}.tmpl").read_text("utf-8")
    return Template(found).substitute(words)


def _quoted(text: str) -> str:
    """A YAML scalar in double quotes, which JSON's are."""
    return json.dumps(text, ensure_ascii=False)


def _fit(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if pattern.fullmatch(value) is None or ".." in value:
        raise Refused("CONFIGURATION", f"--{name} {value!r} has letters that do not fit: {pattern.pattern}")
