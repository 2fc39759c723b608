"""``symphony invariants prove``: each check is shown to fail. Scratch databases only: there is no option for a URL."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from symphony.commands.common import output_option, say, show_json
from symphony.invariants.find import manifest_of, manifest_option
from symphony.invariants.manifest import Manifest
from symphony.invariants.mutations import Mutation, load_mutations
from symphony.invariants.prove import AS_NAMED, Outcome, Proof, choose
from symphony.invariants.prove import prove as run
from symphony.invariants.sources import fresh_of, server_option


@click.command("prove")
@click.option(
    "--only",
    multiple=True,
    metavar="ID",
    help="Only this mutation, or those that name this invariant; may be repeated.",
)
@click.option(
    "--with-tests", is_flag=True, help="Also mutations of code that a test of this repository must notice (minutes)."
)
@server_option
@manifest_option
@output_option
@click.pass_context
def prove(
    context: click.Context, only: tuple[str, ...], server_url: str | None, folder: Path | None, output: str, *, with_tests: bool
) -> None:  # fmt: skip
    """Break each guarded thing on scratch databases; exactly the named invariants must turn red.

    What is broken stands in invariants/mutations/*.yml. No option takes a live database.

    Exit 0 all as named, 1 a named one stayed green, another turned red, or an invariant has no mutation, 3 a mutation
    could not be tried or something is red before anything is broken, 4 nothing ran; 2 for an ID that is none.
    """
    manifest = manifest_of(folder)
    mutations = load_mutations(manifest)
    chosen = _chosen(manifest, mutations, only)
    if sys.stderr.isatty():
        click.echo("making fresh databases from the migrations …", err=True)
    due, _ = choose(mutations, only=chosen, with_tests=with_tests)
    bar = click.progressbar(length=len(due), label="mutations", file=sys.stderr, hidden=not sys.stderr.isatty())
    with fresh_of(manifest, server_url) as urls, bar:
        proof = run(manifest, mutations, urls, only=chosen, with_tests=with_tests, done=lambda _outcome: bar.update(1))
    if output == "json":
        show_json(_document(proof))
    else:
        for line in _lines(proof):
            say(line)
    context.exit(proof.exit_code)


def _chosen(manifest: Manifest, mutations: Sequence[Mutation], only: tuple[str, ...]) -> frozenset[str]:
    ids = {one.id for one in mutations}
    names = {name: one.id for one in manifest.implemented for name in (one.id, *one.aliases)}
    for word in only:
        if word not in ids and word not in names:
            raise click.BadParameter(
                f"{word} is no mutation and no implemented invariant; they are in: invariants/mutations, symphony invariants list",
                param_hint="--only",
            )
    return frozenset(names.get(word, word) for word in only)


def _lines(proof: Proof) -> list[str]:
    lines = [line for outcome in proof.outcomes for line in _told(outcome)]
    counts = ", ".join(f"{identifier} {count}" for identifier, count in proof.kills.items() if count)
    lines += [f"killed by so many mutations: {counts}"] if counts else []
    lines += [f"no mutation names: {', '.join(proof.bare)}"] if proof.bare else []
    lines += [f"not run without --with-tests: {', '.join(map(str, proof.skipped))}"] if proof.skipped else []
    lines += [f"not shown here: {', '.join(proof.not_shown)}"] if proof.not_shown else []
    good = sum(outcome.verdict in AS_NAMED for outcome in proof.outcomes)
    return [
        *lines,
        f"{good} of {len(proof.outcomes)} mutations turned red exactly what they name"
        if proof.outcomes
        else "nothing ran",
    ]


def _told(outcome: Outcome) -> list[str]:
    one = outcome.mutation
    red = ", ".join(sorted(outcome.red)) or "nothing"
    return [
        f"{outcome.verdict:<8} {one.id}: {one.title}" + ("" if outcome.error else f" ({red} red)"),
        *([f"         could not be tried: {outcome.error}"] if outcome.error else []),
        *([f"         stayed green: {', '.join(outcome.missing)}"] if outcome.missing and not outcome.error else []),
        *(
            [f"         turned red, not named: {', '.join(outcome.extra)}"]
            if outcome.extra and not outcome.error
            else []
        ),
    ]


def _document(proof: Proof) -> dict[str, object]:
    return {
        "mutations": [
            {
                "id": outcome.mutation.id, "title": outcome.mutation.title, "verdict": outcome.verdict, "error": outcome.error,
                "named": sorted(outcome.mutation.named), "red": sorted(outcome.red),
            }
            for outcome in proof.outcomes
        ],
        "not_run": [one.id for one in proof.skipped], "kills": dict(proof.kills), "without_mutation": list(proof.bare),
        "not_shown": proof.not_shown,
    }  # fmt: skip
