"""What changes between two releases is said in words, classified where its meaning is known, and never left out (POL-07)."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import opa_bundle
from contracts.canonical import canonical_bytes
from contracts.schemas import schema
from symphony.release.ceremony import build_key_id
from symphony.release.diff import documents, meaning
from symphony.release.diff.build import Difference, difference
from symphony.release.diff.model import ABSENT
from symphony.release.diff.text import lines_of
from symphony.stack.credentials import new_key
from tests.releases.support import XSD, environment_data, manifests

MANIFEST = "services/reference-rail.json"
REGO = b"package symphony.payments\n\n# who pays\nallow if {\n\tinput.x == 1\n}\n\nlimit := 5\n"


def release(**changes: Any) -> dict[str, bytes]:
    """A release's files; ``changes`` by ``environment``, ``manifest`` or ``invariants``."""
    found = {
        "environment.json": changes.get("environment") or environment_data(),
        MANIFEST: changes.get("manifest") or manifests()["reference-rail"],
        "invariants.json": changes.get("invariants") or {"schema": "symphony.invariants/1", "invariants": [INVARIANT]},
    }
    return {path: canonical_bytes(document) for path, document in found.items()} | {"schemas/iso20022/pacs.008.001.08.xsd": XSD}


INVARIANT = {"id": "INV-007", "status": "implemented", "severity": "P0", "title": "Nothing is paid twice", "sla_days": 7}


def changed(kind: str, change: Callable[[dict[str, Any]], Any]) -> Difference:
    """The difference that one change of one document makes."""
    before = release()
    path = {"environment": "environment.json", "manifest": MANIFEST, "invariants": "invariants.json"}[kind]
    document = json.loads(before[path])
    change(document)
    return difference(before, release(**{kind: document}))


def said(found: Difference) -> list[str]:
    """Each change as it is read."""
    return [f"{one.words} ({one.effect_word})" for one in found.changes]


def put(*path: Any, to: Any) -> Callable[[dict[str, Any]], Any]:
    """Set one value."""

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


CAPS = {"payment_minor_max": 900, "daily_minor_max": 10_000_000, "daily_count_max": 1000}
PERMIT = {"key_id": "cd" * 32, "public_key": "ef" * 32, "sidecar": "second-rail"}


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("environment", put("caps", "ZMW", "payment_minor_max", to=1_250_000), "cap per payment of ZMW: 10,000.00 → 12,500.00 (looser)"),
        ("environment", put("caps", "ZMW", "daily_count_max", to=7), "payments per day of ZMW: 1000 → 7 (tighter)"),
        ("environment", put("participants", 0, "status", to="suspended"), "status of kafue-bank: active → suspended (tighter)"),
        ("environment", put("participants", 0, "agents", to=["KFUBZMLUXXX", "LWGBZMLUXXX"]),
         "agents that kafue-bank speaks for: added LWGBZMLUXXX (looser)"),
        ("environment", put("permitted", "agents", to=[]), "permitted agents: removed KFUBZMLUXXX (tighter)"),
        ("environment", put("permitted", "hours", "enforced", to=True), "hours are enforced: false → true (tighter)"),
        ("environment", put("permitted", "settlement_days_ahead_max", to=9), "settlement ahead, at most: 5 days → 9 days (looser)"),
        ("environment", put("wildcards", "agents", to=True), "any agents are admitted: false → true (looser)"),
        ("environment", put("currencies", "ZMW", "exponent", to=0),
         "exponent of ZMW, in which all its amounts and caps count: 2 → 0 (looser)"),
        ("environment", put("participants", to=[]), ("participant kafue-bank removed (was agents KFUBZMLUXXX; clients kafue; id kafue-bank; "
         "message types pacs.008; name Kafue; status active) (tighter)")),
        ("environment", lambda d: d["permit_keys"].append(PERMIT), (f"permit key {'cd' * 32} of second-rail added with key id {'cd' * 32}; "
         f"public key {'ef' * 32}; sidecar second-rail (looser)")),
        ("manifest", put("sidecar", "batching", "ingest", "batch_size_max", to=50), "batch_size_max of ingest: 200 → 50 (tighter)"),
        ("manifest", put("sidecar", "window", "opens_minute", to=450), "opening of the hours: 08:00 → 07:30 (looser)"),
        ("manifest", put("sidecar", "lease_ms", to=4000), "lease on a payment: 5,000 ms → 4,000 ms (neutral)"),
        ("manifest", put("sidecar", "timezone", to="Europe/Paris"), "time zone of the rail: Africa/Lusaka → Europe/Paris (not classified)"),
        ("invariants", put("invariants", 0, "severity", to="P1"), "invariant INV-007 severity P0 → P1 (weaker)"),
        ("invariants", put("invariants", 0, "status", to="roadmap"), "invariant INV-007 status implemented → roadmap (weaker)"),
        ("invariants", put("invariants", to=[]), ('invariant INV-007 removed (was id INV-007; severity P0; sla days 7; status implemented; '
         'title "Nothing is paid twice") (weaker)')),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_a_change_is_said_in_words_and_whether_it_is_looser(kind: str, change: Any, words: str) -> None:
    assert said(changed(kind, change)) == [words]


def test_a_cap_of_ones_own_is_measured_by_the_cap_that_stood() -> None:
    found = said(changed("environment", lambda d: d["participants"][0].update(caps={"ZMW": CAPS})))
    assert "cap per payment of ZMW for kafue-bank: none of its own (10,000.00 stands) → 9.00 (tighter)" in found
    assert "cap per day of ZMW for kafue-bank: none of its own (100,000.00 stands) → 100,000.00 (neutral)" in found


def test_a_star_of_ones_own_takes_the_place_of_every_cap_and_is_not_classified() -> None:
    found = changed("environment", lambda d: d["participants"][0].update(caps={"*": {**CAPS, "payment_minor_max": 9}}))
    assert found.counts == {"looser": 0, "tighter": 0, "neutral": 0, "not classified": 3}


def test_a_cap_of_a_currency_that_had_none_is_looser() -> None:
    assert changed("environment", lambda d: d["caps"].update(USD=CAPS)).counts["looser"] == 3


def test_what_the_table_does_not_know_is_shown_by_its_path_and_counted() -> None:
    found = changed("manifest", put("sidecar", "of_tomorrow", to={"deep": [1, {"x": None}]}))
    assert said(found) == ['services/reference-rail/sidecar/of_tomorrow/deep: none → [1, {"x": null}] (not classified)']
    assert found.counts["not classified"] == 1
    assert found.document()["counts"] == {"looser": 0, "tighter": 0, "neutral": 0, "not_classified": 1}


def test_two_entries_of_one_name_hide_nothing() -> None:
    twin = {**environment_data()["participants"][0], "agents": ["LWGBZMLUXXX"]}
    found = changed("environment", lambda d: d["participants"].append(twin))
    assert "LWGBZMLUXXX" in said(found)[0]


def test_another_order_is_a_change_without_effect() -> None:
    other = ["LWGBZMLUXXX", "KFUBZMLUXXX"]
    one, two = environment_data(), environment_data()
    one["agents"], two["agents"] = other, other[::-1]
    found = difference(release(environment=one), release(environment=two))
    assert said(found) == ["known agents: listed in another order (neutral)"]


HOSTILE = ["\x1b[2K", "\r", "\n", "\u202e", "\u2028", " (tighter)", "\x9b2J"]


@pytest.mark.parametrize("sign", HOSTILE, ids=itertools.count())
def test_a_hostile_name_forges_no_line_of_the_screen(sign: str) -> None:
    name = f"Mosi{sign}0 changes: nothing"
    entry = {**environment_data()["participants"][0], "id": "mosi", "name": name, "clients": [name]}
    found = changed("environment", lambda d: d["participants"].append(entry))
    found = Difference((*found.changes, *changed("environment", put("issuers", to=[{"issuer": name}])).changes))
    lines = list(lines_of(found))
    assert len(lines) == 4, "a title, two changes and the count"
    assert all(line.isprintable() for line in lines)
    assert all(json.dumps(name, ensure_ascii=False)[1:5] in line for line in lines[1:3])
    assert f" {name}" not in "".join(lines), "it stands between quotation marks, if it stands as it is"


SCHEDULE = [{"after_s": 0, "caps_percent": 50}, {"after_s": 3600, "stop": True}]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, SCHEDULE, "stop at once → at its end 50 % of the caps; 3,600 s after stop (looser)"),
        (SCHEDULE, None, "at its end 50 % of the caps; 3,600 s after stop → stop at once (tighter)"),
        (SCHEDULE, [{"after_s": 0, "caps_percent": 40}, SCHEDULE[1]], "(tighter)"),
        (SCHEDULE, [SCHEDULE[0], {"after_s": 7200, "stop": True}], "(looser)"),
        (SCHEDULE, [SCHEDULE[0], {"after_s": 60, "caps_percent": 50}, SCHEDULE[1]], "(neutral)"),
        (SCHEDULE, [{"after_s": 0, "caps_percent": 60}, {"after_s": 60, "stop": True}], "(not classified)"),
        (SCHEDULE, [{"after_s": "soon"}], '→ [{"after_s": "soon"}] (not classified)'),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_schedule_is_compared_by_what_it_permits_at_every_moment(before: Any, after: Any, words: str) -> None:
    """Inserting a step is no change of each step after it; no schedule is a stop at the end."""
    one, other = ({**manifests()["reference-rail"], "staleness": {"lease": value} if value else {}} for value in (before, after))
    (found,) = said(difference(release(manifest=one), release(manifest=other)))
    assert found.startswith("when the lease of reference-rail runs out: ")
    assert found.endswith(words)


def test_schemas_services_and_the_gate_are_compared_too() -> None:
    before = release()
    after = {**before, "schemas/iso20022/pacs.008.001.08.xsd": XSD + b" ", "services/core-ledger.json": canonical_bytes(manifests()["core-ledger"])}
    found = difference(before, after)
    assert [(one.part, one.what, one.effect) for one in found.changes] == [
        ("manifest", "added", "looser"), ("schema", "changed", "not classified"),
    ]  # fmt: skip
    assert "schema iso20022/pacs.008.001.08 replaced" in said(found)[1]


def bundled(rego: dict[str, bytes], wasm: bytes = b"wasm") -> dict[str, bytes]:
    """Policy files of a release."""
    return {"policy.tar.gz": opa_bundle.build(rego, "r", KEY, build_key_id(KEY)), "policy.wasm": wasm}


KEY = new_key()


def test_rules_of_the_policy_are_named_and_every_line_shown() -> None:
    after = REGO.replace(b"limit := 5", b"limit := 6") + b"\ndeny if input.y\n"
    found = difference(bundled({"payments/x.rego": REGO}), bundled({"payments/x.rego": after}, b"other"), ("1", "2"))
    assert [one.words for one in found.changes if len(one.path) == 3] == [
        "rule deny added in payments/x.rego",
        "rule limit changed in payments/x.rego (of 1 definitions 1 went, 1 came, 1 now)",
    ]
    assert {one.effect for one in found.changes if len(one.path) == 3} == {"not classified"}
    (file,) = found.rego
    assert file["diff"].startswith("--- 1/payments/x.rego\n+++ 2/payments/x.rego\n")
    assert {"-limit := 5", "+limit := 6", "+deny if input.y"} <= set(file["diff"].split("\n"))


def test_another_wasm_of_the_same_rego_is_pointed_at() -> None:
    found = difference(bundled({"payments/x.rego": REGO}), bundled({"payments/x.rego": REGO}, b"doctored"))
    (change,) = found.changes
    assert "policy.wasm changed though the Rego is the same" in change.words
    assert change.effect == "not classified"


def test_a_comment_alone_changes_no_rule_and_is_still_shown() -> None:
    found = difference(bundled({"payments/x.rego": REGO}), bundled({"payments/x.rego": REGO.replace(b"who pays", b"nobody pays")}))
    assert [one.effect for one in found.changes] == ["neutral", "neutral"]
    assert "+# nobody pays" in found.rego[0]["diff"]


def leaves(node: dict[str, Any], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Paths of every field of a schema, entries of arrays by ``x``."""
    if "$ref" in node:
        node = _referred(node["$ref"])
    inner = [((*path, name), one) for name, one in node.get("properties", {}).items()]
    if isinstance(node.get("additionalProperties"), dict):
        inner.append(((*path, "x"), node["additionalProperties"]))
    if "properties" in node.get("items", {}) or "urn:" not in node.get("items", {}).get("$ref", "urn:"):
        inner.append(((*path, "x"), node["items"]))
    found = [leaf for place, one in inner for leaf in leaves(one, place)]
    return found or [path]


def _referred(reference: str) -> dict[str, Any]:
    name, _, place = reference.partition("#/$defs/")
    if name:
        return {}
    return next(schema(f"symphony.{kind}/1")["$defs"][place] for kind in ("environment", "service")
                if place in schema(f"symphony.{kind}/1")["$defs"])  # fmt: skip


@pytest.mark.parametrize(("document", "kind"), [("environment.json", "environment"), ("services/x", "service")], ids=["environment", "service"])
def test_the_table_knows_every_field_of_the_schemas(document: str, kind: str) -> None:
    """A new field says in symphony/release/diff/meaning.py what it means; an officer should not have to guess."""
    known = meaning.table()

    def is_known(path: tuple[str, ...]) -> bool:
        own, entries = meaning.pattern_of(path)[0], meaning.pattern_of(path[:-2])[0]
        return own in known or own in meaning.KEYED or path[-1] in meaning.KEYED.get(entries, ())

    unknown = ["/".join(path) for path in leaves(schema(f"symphony.{kind}/1"), tuple(document.split("/"))) if not is_known(path)]
    assert unknown == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab\x1b", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "caps", "ZMW", "a b"]), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(["participants", "caps", "agents", "permit_keys", "issuers", "calendars", "of_tomorrow"])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(PLACES, VALUES, max_size=4), st.dictionaries(PLACES, VALUES, max_size=4))
def test_no_difference_of_any_two_documents_is_left_out(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Whatever the shapes: there is a change if and only if they differ, and the changes' values are those of the documents."""
    pair = documents.Pair(documents.Side.of({}), documents.Side.of({}))
    found = documents.changes("environment", "environment.json", before, after, pair)
    assert bool(found) == (canonical_bytes(before) != canonical_bytes(after))
    for change in found:
        assert (change.before is ABSENT, change.after is ABSENT) != (True, True)
    backwards = documents.changes("environment", "environment.json", after, copy.deepcopy(before), pair)
    assert [one.path for one in backwards] == [one.path for one in found]
