"""MIG-12: a structural change comes with exactly one of a manifest change and a timeboxed exception."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from contracts.errors import CannotEvaluate, Refused
from symphony.invariants.structural import Change, changes, judge

MANIFEST = "invariants/INVARIANTS_MANIFEST.yml"
GLOBS = ["migrations/**", "policies/**"]


def git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, words in (
        (MANIFEST, "invariants:\n- id: INV-001\n  title: first\n"),
        ("migrations/a/0001_x.sql", "SELECT 1;\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(words)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def looked(root: Path, since: str = "HEAD") -> Change:
    return changes(root, since, GLOBS, [root / MANIFEST])


def test_a_file_that_is_not_structural_needs_nothing(repository: Path) -> None:
    (repository / "README.md").write_text("x")
    assert "nothing structural" in judge(looked(repository), [])


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("name", ["migrations/a/0002_y.sql", "migrations/a/0001_x.sql", "policies/deep/er/p.rego"])
def test_a_structural_change_alone_is_refused(repository: Path, name: str, committed: bool) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text("changed")
    if committed:
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", "two")
    with pytest.raises(Refused, match="no invariant did"):
        judge(looked(repository, base), [])


def test_a_deleted_structural_file_counts(repository: Path) -> None:
    (repository / "migrations/a/0001_x.sql").unlink()
    assert looked(repository).files == ("migrations/a/0001_x.sql",)


def test_a_change_of_the_invariants_lets_it_pass_and_words_of_a_comment_do_not(repository: Path) -> None:
    (repository / "migrations/a/0002_y.sql").write_text("x")
    manifest = repository / MANIFEST
    manifest.write_text("# a comment\n" + manifest.read_text())
    with pytest.raises(Refused):
        judge(looked(repository), [])
    manifest.write_text(manifest.read_text().replace("first", "other"))
    assert "a change of the invariants" in judge(looked(repository), [])


def test_an_exception_covers_every_file_or_none(repository: Path) -> None:
    (repository / "migrations/a/0002_y.sql").write_text("x")
    assert "the exception T-1" in judge(looked(repository), [("T-1", ["migrations/*"])])
    (repository / "policies").mkdir()
    (repository / "policies/p.rego").write_text("x")
    with pytest.raises(Refused):
        judge(looked(repository), [("T-1", ["migrations/*"])])


def test_both_at_once_is_refused(repository: Path) -> None:
    (repository / "migrations/a/0002_y.sql").write_text("x")
    (repository / MANIFEST).write_text("invariants: []\n")
    with pytest.raises(Refused, match="and an exception"):
        judge(looked(repository), [("T-1", ["migrations/*"])])


def test_what_branched_off_is_compared_with_where_it_did(repository: Path) -> None:
    """A structural change of the other branch is not ours."""
    git(repository, "checkout", "-q", "-b", "mine")
    git(repository, "checkout", "-q", "main")
    (repository / "migrations/a/0002_y.sql").write_text("x")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "theirs")
    git(repository, "checkout", "-q", "mine")
    assert looked(repository, "main").files == ()


@pytest.mark.parametrize("since", ["0" * 40, "no-such-branch", "--all"])
def test_a_commit_that_is_not_here_cannot_be_evaluated(repository: Path, since: str) -> None:
    with pytest.raises(CannotEvaluate):
        looked(repository, since)


def test_a_folder_that_is_no_checkout_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(CannotEvaluate):
        changes(tmp_path, "HEAD", GLOBS, [])


def test_a_manifest_that_names_nothing_structural_is_no_pass(repository: Path) -> None:
    with pytest.raises(CannotEvaluate, match="nothing structural"):
        changes(repository, "HEAD", [], [])


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A service of a monorepo: its manifest's folder lies two levels below ``.git``."""
    root = tmp_path / "services" / "pay"
    for name in (MANIFEST, "migrations/1_a.sql", "../../shared/roles.sql"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("invariants:\n- id: INV-001\n" if name == MANIFEST else "SELECT 1;\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return root


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("relative", ["true", "false"])
def test_globs_of_a_service_in_a_monorepo_begin_at_its_own_folder(
    service: Path, relative: str, committed: bool
) -> None:
    """MIG-12: a change below ``services/pay`` is structural for the manifest of ``services/pay``."""
    base = git(service, "rev-parse", "HEAD")
    git(service, "config", "diff.relative", relative)
    (service / "migrations/2_b.sql").write_text("x")
    (service / "../../shared/roles.sql").write_text("changed")
    (service / "../../migrations").mkdir()
    (service / "../../migrations/other.sql").write_text("not of this service")
    if committed:
        git(service, "add", "../..")
        git(service, "commit", "-q", "-m", "two")
    found = changes(service, base, ["migrations/**", "../../shared/**"], [service / MANIFEST])
    assert found.files == ("../../shared/roles.sql", "migrations/2_b.sql")
    with pytest.raises(Refused, match="no invariant did"):
        judge(found, [])
    assert "the exception OPS-1" in judge(found, [("OPS-1", ["migrations/*", "../../shared/*"])])


def test_globs_that_name_no_file_at_all_are_no_pass(repository: Path) -> None:
    """MIG-12: a typo in ``structural`` does not switch the gate off."""
    with pytest.raises(CannotEvaluate, match="no file is structural: migratons"):
        changes(repository, "HEAD", ["migratons/**"], [repository / MANIFEST])


@pytest.mark.parametrize("together", [True, False])
def test_a_glob_taken_out_still_counts(repository: Path, together: bool) -> None:
    """Nobody takes a folder from under the gate by the change that the gate judges, or by one before it."""
    manifest = repository / MANIFEST
    manifest.write_text("structural: ['migrations/**', 'policies/**']\n" + manifest.read_text())
    git(repository, "commit", "-q", "-a", "-m", "two")
    manifest.write_text(manifest.read_text().replace("'migrations/**', ", ""))
    if together:
        (repository / "migrations/a/0002_y.sql").write_text("x")
    change = changes(repository, "HEAD", ["policies/**"], [manifest])
    assert change.files == (MANIFEST, *(["migrations/a/0002_y.sql"] if together else []))
    with pytest.raises(Refused, match="no invariant did"):
        judge(change, [])


def test_it_is_said_when_there_was_nothing_to_compare(repository: Path) -> None:
    assert "nothing was compared" in judge(looked(repository), [])
    (repository / "README.md").write_text("x")
    assert "nothing structural changed" in judge(looked(repository), [])


@pytest.mark.parametrize("config", [("diff.relative", "true"), ("status.showUntrackedFiles", "no")])
def test_no_setting_of_git_hides_a_change(repository: Path, config: tuple[str, str]) -> None:
    git(repository, "config", *config)
    (repository / "migrations/a/0002_y.sql").write_text("x")
    (repository / "migrations/a/0001_x.sql").write_text("x")
    found = looked(repository)
    assert found.files == ("migrations/a/0001_x.sql", "migrations/a/0002_y.sql")


@pytest.mark.parametrize("change", ["renamed", "mode", "ignored", "symlink"])
def test_what_is_no_edit_is_a_change_too(repository: Path, change: str) -> None:
    one = repository / "migrations/a/0001_x.sql"
    if change == "renamed":
        git(repository, "mv", "migrations/a/0001_x.sql", "elsewhere.sql")
    elif change == "mode":
        one.chmod(0o755)
    elif change == "symlink":
        one.unlink()
        one.symlink_to("../../README.md")
    else:
        (repository / ".gitignore").write_text("migrations/a/0002_y.sql\n")
        (repository / "migrations/a/0002_y.sql").write_text("x")
        git(repository, "add", "-f", "migrations/a/0002_y.sql")
    assert looked(repository).files


def test_a_submodule_in_a_structural_folder_counts(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    (other / "x.sql").write_text("1")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "one")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "migrations/b")
    git(repository, "commit", "-q", "-m", "module")
    (repository / "migrations/b/x.sql").write_text("2")
    assert looked(repository).files == ("migrations/b",)
