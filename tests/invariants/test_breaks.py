"""Each check is shown to fail: one thing is wrong in a database, and exactly the expected ids turn red (NEG-12, NEG-31).

The mutations are data (``invariants/mutations``), and it is the code of ``symphony invariants prove`` that tries them. Where
two invariants say the same from two sides (a table's own, and INV-029 of every table), both are named; an id too few is a
check that sees nothing, an id too many one that nobody would believe.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from symphony.invariants import Manifest, drift, load_manifest
from symphony.invariants.mutations import DRIFT_ID, Mutation, load_mutations, uncovered
from symphony.invariants.prove import sql_checks, try_on_database
from tests.invariants.support import KINDS

MUTATIONS = load_mutations(load_manifest())


@pytest.mark.parametrize("one", [one for one in MUTATIONS if one.on_a_database], ids=str)
def test_each_break_turns_exactly_its_own_red(one: Mutation, whole: Mapping[str, str], manifest: Manifest) -> None:
    """NEG-12, NEG-31, NEG-14; INV-004 is judged apart (NEG-15)."""
    url = whole[one.database]
    outcome = try_on_database(one, url, manifest, drift.live(url))
    assert outcome.error == ""
    assert outcome.red - {DRIFT_ID} == one.red
    assert (DRIFT_ID in outcome.red) is one.drift


def test_every_check_that_looks_at_a_database_is_shown_to_fail_there(manifest: Manifest) -> None:
    """A check that cannot fail is a defect: each id with a check on a database is red in some mutation of a database."""
    shown = {name for one in MUTATIONS if one.on_a_database for name in one.red}
    assert {name for kind in KINDS for name, _ in sql_checks(manifest, kind)} <= shown


def test_every_implemented_invariant_is_named_in_some_mutation(manifest: Manifest) -> None:
    assert uncovered(manifest, MUTATIONS) == []


def test_the_issues_own_list_is_there() -> None:
    """Drop the trigger, grant the privilege, widen the index, unpin the path, shadow a table, edit a migration, two ACTIVE."""
    assert {
        "attempts-trigger-dropped", "public-reads-tokens", "replay-key-widened", "path-is-not-pinned", "shadow-of-the-attempts",
        "applied-migration-edited", "two-active",
    } <= {one.id for one in MUTATIONS}  # fmt: skip
