"""``symphony release collect`` and ``release propose --from DIR``: a release out of a git checkout, in CI or by hand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from symphony.commands.acting import ELSEWHERE, Acting, elsewhere_options, who_acts, with_options
from symphony.commands.common import env_option, output_option, say, show_json

_folder = click.Path(path_type=Path, exists=True, file_okay=False)
_file = click.Path(path_type=Path, exists=True, dir_okay=False)
build_key_option = click.option(
    "--build-key", type=_file, envvar="SYMPHONY_BUILD_KEY", help="With --from: build key (P-256, PEM) that signs policy.tar.gz."
)
OWN = ("gate", "bundle", "build_key", "attested", "sigstore_bundle")


@click.command()
@click.option("--from", "source", type=_folder, default=".", show_default=True, help="Checkout with policies/, manifests/ …")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the targets.")
@env_option
@build_key_option
@click.option("--attest", is_flag=True, help="Also write build/: an SBOM and provenance signed by the build key.")
@click.option("--builder", help="With --attest: who builds, as a URI, such as urn:example:ci:release.")
@click.option(
    "--runtime-lock", type=_file, help="With --attest: the lock that the sidecars' image is made from; else what is installed here."
)
@output_option
def collect(
    source: Path, out: Path, environment: str, build_key: Path | None, output: str, *, attest: bool, builder: str | None,
    runtime_lock: Path | None,
) -> None:  # fmt: skip
    """Write the files of a release from a checkout, so that the gate can sign for exactly their digests.

    Nothing is proposed. Two runs give the same bytes. Exit 1 a rule does not hold, 2 something is not there, 3 no opa. Example:

      symphony release collect --from . --out release --build-key build.pem --attest
    """
    from contracts.canonical import sha256_hex
    from symphony.release.checkout import Checkout, write

    if not attest and (builder is not None or runtime_lock is not None):
        raise click.UsageError("--builder and --runtime-lock go with --attest")
    checkout = Checkout(source, environment)
    files = checkout.targets(bundle=None, build_key=build_key)
    if attest:
        files |= _attested(files, build_key, checkout.source(), builder, runtime_lock)
    write(files, out)
    if output == "json":
        show_json({name: sha256_hex(content) for name, content in sorted(files.items())})
        return
    for name, content in sorted(files.items()):
        say(f"{sha256_hex(content)}  {out / name}")


def _attested(
    files: dict[str, bytes], build_key: Path | None, source: dict[str, Any], builder: str | None, runtime_lock: Path | None
) -> dict[str, bytes]:
    from symphony.attest import attached
    from symphony.attest.provenance import BUILDER
    from symphony.stack.credentials import load_key

    assert build_key is not None, "without it there is no bundle"
    made = attached.made(files, load_key(build_key), source, builder=builder or BUILDER, runtime_lock=runtime_lock)
    return {f"{attached.FOLDER}/{name}": data for name, data in made.items()}


def from_checkout(function: Callable[..., Any]) -> Callable[..., Any]:
    """``propose`` with ``--from DIR`` as well; without it, it is the stack's own."""

    @functools.wraps(function)
    def run(*, source: Path | None, output: str, **more: Any) -> Any:
        own = {name: more.pop(name) for name in OWN}
        named = {name: more.pop(name) for name in ELSEWHERE}
        if source is None:
            _demand_stack(own, more["officer"])
            return function(**more)
        wrong = [name for name in ("manifests", "environment_data", "schemas") if more[name] is not None]
        if wrong:
            raise click.UsageError(f"with --from these come from the checkout: leave --{wrong[0].replace('_', '-')} out")
        if own["gate"] is None:
            raise click.UsageError("--from needs --gate FILE, the gate's signed result: symphony invariants check --sign …")
        who = who_acts(more["folder"], more["environment"], more["officer"], **named)
        return _propose(who, source, more["reason"], more["ticket"], output, **own)

    return with_options(run, [
        click.option("--from", "source", type=_folder, help="A checkout: policies/, environment.json, manifests/, invariants/."),
        click.option("--gate", type=_file, help="With --from: the gate's signed result for exactly these files."),
        click.option("--bundle", type=_file, help="With --from: policy.tar.gz as release collect wrote it."),
        click.option(
            "--attested", type=_folder, help="With --from: the folder build/ that release collect --attest wrote: SBOM, provenance."
        ),
        click.option("--sigstore-bundle", type=_file, help="With --attested: a Sigstore bundle over its provenance.json."),
        build_key_option, *elsewhere_options(), output_option,
    ])  # fmt: skip


def _demand_stack(own: dict[str, Any], officer: str | None) -> None:
    if any(own[name] is not None for name in ("gate", "bundle", "attested", "sigstore_bundle")):
        raise click.UsageError("--gate, --bundle, --attested and --sigstore-bundle go with --from DIR")
    if officer is None:
        raise click.UsageError("Missing option '--as': name the officer who acts, or a checkout by --from.")


def _propose(
    who: Acting, folder: Path, reason: str, ticket: str, output: str, *, gate: Path, bundle: Path | None, build_key: Path | None,
    attested: Path | None, sigstore_bundle: Path | None,
) -> None:  # fmt: skip
    """Collect, check the policy, sign and send. Nothing is sent that a sidecar would refuse."""
    import tempfile

    from contracts.times import SystemClock
    from symphony.attest import attached
    from symphony.policy.proposed import demand
    from symphony.release.checkout import Checkout, demand_gate_of
    from symphony.release.propose import propose

    if sigstore_bundle is not None and attested is None:
        raise click.UsageError("--sigstore-bundle goes with --attested DIR")
    build = attached.from_folder(attested, sigstore_bundle) if attested else None
    checkout = Checkout(folder, who.environment)
    files, source = checkout.targets(bundle=bundle, build_key=build_key), checkout.source()
    tell = say if output == "text" else (lambda _line: None)
    tell(_of_commit(source))
    demand_gate_of(files, signed := gate.read_bytes())
    with tempfile.TemporaryDirectory(prefix="symphony-checks-") as kept:
        tell(demand(files, Path(kept), folder=checkout.policies).partition(f": {kept}")[0])
    draft = propose(
        who.control, who.officer(), files, signed, environment=who.environment, reason=reason, change_ticket=ticket,
        root=who.root_bytes, now=SystemClock().now(), source=source, build=build,
    )  # fmt: skip
    if output == "json":
        show_json({"number": draft.number, "status": "PROPOSED", "metadata_digest": draft.digest, "source": source})
        return
    say(f"release {draft.number} is PROPOSED, metadata {draft.digest}")
    say(f"  next, by two other officers: symphony release approve {draft.number}")


def _of_commit(source: dict[str, Any]) -> str:
    if source["commit"] is None:
        return "from no git checkout: the proposal names no commit"
    state = "with uncommitted changes, and the proposal says so" if source["dirty"] else "without uncommitted changes"
    return f"from commit {source['commit']}, {state}"
