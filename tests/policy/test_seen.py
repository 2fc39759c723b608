"""What a policy can see of an environment's data decides which kept pass counts: too little seen would be a stale pass."""

from __future__ import annotations

import pytest

from symphony.policy.seen import seen
from symphony.policy.source import Source, load
from symphony.policy_build import POLICIES

DATA = {name: {} for name in ("environment", "caps", "participants", "issuers")}
ALL = set(DATA)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        pytest.param("a := data.environment.caps.ZMW", {"environment", "caps"}, id="a name"),
        pytest.param('a := data.environment["caps"]', {"environment", "caps"}, id="a quoted name"),
        pytest.param("a := data.symphony.payments.decisions", {"environment"}, id="another rule"),
        pytest.param("a := data.environment", ALL, id="all of it"),
        pytest.param("a := data.environment[input.name]", ALL, id="a name that is asked for"),
        pytest.param("a := data", ALL, id="all data"),
        pytest.param("a := [x | walk(data, x)]", ALL, id="a walk"),
        pytest.param("a := data[input.root].caps", ALL, id="a root that is asked for"),
        pytest.param("a := x if { x := data.environment; x.caps }", ALL, id="an alias"),
        pytest.param(
            "a := data.environment.caps[data.environment.issuers.x]", {"environment", "caps", "issuers"}, id="nested"
        ),
        pytest.param("a := `\n# data.environment.issuers\n`", {"environment"}, id="a text"),
        pytest.param("# data.environment\na := 1", {"environment"}, id="a comment"),
        pytest.param("a := `\n# ` if data.environment.issuers.x", {"environment", "issuers"}, id="behind a text"),
        pytest.param("a := 1 if { input.x with data.environment as {} }", ALL, id="with"),
    ],
)
def test_every_reference_into_the_data_counts(opa, rule, names):
    source = Source({"payments/a.rego": f"package symphony.a\n\nimport data.symphony.b\n\n{rule}\n".encode()})
    assert set(seen(source, DATA, opa)) == names


def test_an_import_of_the_data_is_seen(opa):
    text = b"package symphony.a\n\nimport data.environment as env\n\na := env.caps\n"
    assert set(seen(Source({"payments/a.rego": text}), DATA, opa)) == ALL


def test_the_payments_policy_sees_no_keys(opa):
    names = ("caps", "permitted", "issuers", "permit_keys", "evidence_keys", "certificate_authorities")
    data: dict[str, dict[str, str]] = {name: {} for name in names}
    assert set(seen(load(POLICIES), data, opa)) == {"caps", "permitted"}
