"""The one table of what a field of a release means to an officer, and which way of changing it is looser.

A path's first segment is the document; ``{name}`` stands for any one segment, and the words may use it. A field that no line
names is shown by its path and counted as not classified, never left out (``documents``). A new field of the schemas is a new
line here; ``tests/releases/test_diff.py`` holds the table to the schemas.

``looser``: MORE or LESS (of a number), GAIN or LOSS (of the entry or member), NEVER (it changes what nothing enforces), OPEN (the
meaning is known, the direction is not), or a tuple of values from tight to loose. CAP judges by the cap that stands, SCHEDULE by
what ``contracts.release.staleness`` permits at every moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from symphony.release.diff.model import ABSENT

MORE, LESS, GAIN, LOSS, NEVER, OPEN, CAP, SCHEDULE = "more", "less", "gain", "loss", "never", "open", "cap", "schedule"
SWITCH = (False, True)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a field means. ``unit``: minor (money of ``{currency}``), minutes (of the day), PEM, or a word that follows."""

    words: str
    looser: str | tuple[object, ...]
    unit: str = ""


_ENV = "environment.json"
_CAP_FIELDS = {
    "payment_minor_max": ("cap per payment", "minor"), "daily_minor_max": ("cap per day", "minor"),
    "daily_count_max": ("payments per day", ""),
}  # fmt: skip
_TABLE: dict[str, Meaning] = {
    f"{_ENV}/environment": Meaning("environment", OPEN),
    f"{_ENV}/schema": Meaning("form of the environment data", OPEN),
    f"{_ENV}/wildcards/{{name}}": Meaning("any {name} are admitted", SWITCH),
    f"{_ENV}/participants/{{participant}}": Meaning("participant {participant}", GAIN),
    f"{_ENV}/participants/{{participant}}/name": Meaning("name of {participant}", NEVER),
    f"{_ENV}/participants/{{participant}}/status": Meaning("status of {participant}", ("suspended", "active")),
    f"{_ENV}/participants/{{participant}}/agents": Meaning("agents that {participant} speaks for", GAIN),
    f"{_ENV}/participants/{{participant}}/clients": Meaning("clients of {participant}", GAIN),
    f"{_ENV}/participants/{{participant}}/message_types": Meaning("message types of {participant}", GAIN),
    f"{_ENV}/agents": Meaning("known agents", GAIN),
    f"{_ENV}/currencies/{{currency}}": Meaning("currency {currency}", GAIN),
    f"{_ENV}/currencies/{{currency}}/exponent": Meaning(
        "exponent of {currency}, in which all its amounts and caps count", LESS
    ),
    f"{_ENV}/currencies/{{currency}}/money": Meaning("{currency} counts as money", SWITCH),
    f"{_ENV}/permitted/participants": Meaning("permitted participants", GAIN),
    f"{_ENV}/permitted/agents": Meaning("permitted agents", GAIN),
    f"{_ENV}/permitted/currencies": Meaning("permitted currencies", GAIN),
    f"{_ENV}/permitted/settlement_methods": Meaning("permitted settlement methods", GAIN),
    f"{_ENV}/permitted/settlement_days_ahead_max": Meaning("settlement ahead, at most", MORE, "days"),
    f"{_ENV}/permitted/hours/enforced": Meaning("hours are enforced", (True, False)),
    f"{_ENV}/issuers/{{issuer}}": Meaning("token issuer {issuer}", GAIN),
    f"{_ENV}/issuers/{{issuer}}/algorithms": Meaning("algorithms of issuer {issuer}", GAIN),
    f"{_ENV}/issuers/{{issuer}}/jwks/keys/{{key}}": Meaning("signing key {key} of issuer {issuer}", GAIN),
    f"{_ENV}/certificate_authorities": Meaning("certificate authority of participants", GAIN, "PEM"),
    f"{_ENV}/permit_keys/{{key}}": Meaning("permit key {key}", GAIN),
    f"{_ENV}/evidence_keys/{{key}}": Meaning("evidence key {key}", GAIN),
    f"{_ENV}/permit_keys/{{key}}/public_key": Meaning("public half of permit key {key}", OPEN),
    f"{_ENV}/evidence_keys/{{key}}/public_key": Meaning("public half of evidence key {key}", OPEN),
    f"{_ENV}/order_keys": Meaning("officers who may issue orders", GAIN),
    f"{_ENV}/freezes/{{window}}": Meaning("freeze window {window}", LOSS),
    f"{_ENV}/freezes/{{window}}/calendar": Meaning("calendar of freeze window {window}", OPEN),
    f"{_ENV}/freezes/{{window}}/first_date": Meaning("first day of freeze window {window}", OPEN),
    f"{_ENV}/freezes/{{window}}/last_date": Meaning("last day of freeze window {window}", OPEN),
    f"{_ENV}/freezes/{{window}}/month_first_business_days": Meaning("first business days of a month in {window}", LESS, "days"),
    f"{_ENV}/freezes/{{window}}/month_last_business_days": Meaning("last business days of a month in {window}", LESS, "days"),
    f"{_ENV}/freezes/{{window}}/business_days_only": Meaning("freeze window {window} on business days only", OPEN),
    f"{_ENV}/freezes/{{window}}/opens_minute": Meaning("begin of freeze window {window}", MORE, "minutes"),
    f"{_ENV}/freezes/{{window}}/closes_minute": Meaning("end of freeze window {window}", LESS, "minutes"),
    f"{_ENV}/log_keys/{{key}}": Meaning("key of the evidence log {key}", GAIN),
    f"{_ENV}/calendars/{{calendar}}": Meaning("calendar {calendar}", OPEN),
    f"{_ENV}/calendars/{{calendar}}/timezone": Meaning("time zone of calendar {calendar}", OPEN),
    f"{_ENV}/calendars/{{calendar}}/weekend": Meaning("weekend of calendar {calendar} (1 is Monday)", LOSS),
    f"{_ENV}/calendars/{{calendar}}/holidays": Meaning("holidays of calendar {calendar}", LOSS),
    "invariants.json/schema": Meaning("form of the invariants", OPEN),
    "invariants.json/invariants/{id}": Meaning("invariant {id}", LOSS),
    "invariants.json/invariants/{id}/status": Meaning("invariant {id} status", ("implemented", "roadmap")),
    "invariants.json/invariants/{id}/severity": Meaning("invariant {id} severity", ("P0", "P1")),
    "invariants.json/invariants/{id}/title": Meaning("invariant {id} title", OPEN),
    "invariants.json/invariants/{id}/sla_days": Meaning("invariant {id} is mended within", MORE, "days"),
    "services/{service}": Meaning("service manifest of {service}", GAIN),
    "services/{service}/schema": Meaning("form of the manifest of {service}", OPEN),
    "services/{service}/service": Meaning("name of {service}", OPEN),
    "services/{service}/kind": Meaning("kind of {service}", OPEN),
    "services/{service}/audience": Meaning("audience of {service}", OPEN),
    "services/{service}/staleness/lease": Meaning("when the lease of {service} runs out", SCHEDULE),
    "services/{service}/staleness/role": Meaning("when the release of {service} runs out", SCHEDULE),
    "services/{service}/attested_build/required": Meaning("{service} demands an attested build", (True, ABSENT)),
    "services/{service}/clock_skew_s": Meaning("clock skew taken by {service}", MORE, "s"),
}
_SIDECAR: dict[str, Meaning] = {
    "mode": Meaning("mode", ("enforced", "limited", "shadow")),
    "rail/name": Meaning("rail", OPEN), "rail/kind": Meaning("kind of rail", OPEN),
    "rail/message_types": Meaning("message types of the rail", GAIN),
    "rail/submit_timeout_ms": Meaning("the rail answers within", NEVER, "ms"),
    "rail/query_timeout_ms": Meaning("a query of the rail answers within", NEVER, "ms"),
    "attestation/pop_modes": Meaning("proofs of possession taken", GAIN),
    "attestation/token_lifetime_s_max": Meaning("lifetime of a token, at most", MORE, "s"),
    "intake/body_bytes_max": Meaning("bytes of a message, at most", MORE),
    "intake/transactions_max": Meaning("payments of a message, at most", MORE),
    "intake/queue_max": Meaning("messages that wait, at most", MORE),
    "intake/request_timeout_ms": Meaning("a request ends within", NEVER, "ms"),
    "intake/decision_timeout_ms": Meaning("a decision ends within", NEVER, "ms"),
    "intake/rejects_per_source_per_minute_max": Meaning("rejects of a source per minute, at most", MORE),
    "batching/{batch}/batch_size_max": Meaning("batch_size_max of {batch}", MORE),
    "batching/{batch}/flush_ms_max": Meaning("flush_ms_max of {batch}", MORE, "ms"),
    "batch_money/value_minor_max": Meaning("money in one dispatched batch, at most", MORE, "minor units"),
    "batch_money/age_ms_max": Meaning("age of a dispatched batch, at most", MORE, "ms"),
    "in_flight/{scope}": Meaning("in flight, {scope}", MORE),
    "lease_ms": Meaning("lease on a payment", NEVER, "ms"),
    "recovery": Meaning("recovery of a payment in doubt", OPEN),
    "retry/attempts_max": Meaning("attempts of a payment, at most", MORE),
    "retry/backoff_ms_min": Meaning("first wait between attempts", NEVER, "ms"),
    "retry/backoff_ms_max": Meaning("longest wait between attempts", NEVER, "ms"),
    "permit/audience": Meaning("audience of permits", OPEN),
    "permit/lifetime_s": Meaning("lifetime of a permit", MORE, "s"),
    "duplicate_window_days": Meaning("age of a message that is still taken", MORE, "days"),
    "timezone": Meaning("time zone of the rail", OPEN), "calendar": Meaning("calendar of the rail", OPEN),
    "window/opens_minute": Meaning("opening of the hours", LESS, "minutes"),
    "window/closes_minute": Meaning("end of the hours", MORE, "minutes"),
    "ages_max_s/revocations": Meaning("age of the revocations, at most", MORE, "s"),
    "ages_max_s/usage": Meaning("age of the usage, at most", MORE, "s"),
    "evidence/backlog_max": Meaning("evidence that waits for the control plane, at most", MORE, "records"),
    "evidence/heartbeat_s": Meaning("heartbeat of the evidence every", MORE, "s"),
    "database/acquire_timeout_ms": Meaning("a database connection is had within", NEVER, "ms"),
    "database/transaction_timeout_ms": Meaning("a transaction ends within", NEVER, "ms"),
}  # fmt: skip

UNORDERED = frozenset({
    f"{_ENV}/participants/{{participant}}/agents", f"{_ENV}/participants/{{participant}}/clients",
    f"{_ENV}/participants/{{participant}}/message_types", f"{_ENV}/agents", f"{_ENV}/permitted/participants",
    f"{_ENV}/permitted/agents", f"{_ENV}/permitted/currencies", f"{_ENV}/permitted/settlement_methods",
    f"{_ENV}/order_keys", f"{_ENV}/issuers/{{issuer}}/algorithms", f"{_ENV}/certificate_authorities",
    f"{_ENV}/calendars/{{calendar}}/weekend",
    f"{_ENV}/calendars/{{calendar}}/holidays", "services/{service}/sidecar/rail/message_types",
    "services/{service}/sidecar/attestation/pop_modes",
})  # fmt: skip
"""Arrays of texts or numbers in which only membership counts."""

KEYED: dict[str, tuple[str, ...]] = {
    f"{_ENV}/participants": ("id",), f"{_ENV}/issuers": ("issuer",), f"{_ENV}/issuers/{{issuer}}/jwks/keys": ("kid",),
    f"{_ENV}/permit_keys": ("key_id", "sidecar"), f"{_ENV}/evidence_keys": ("key_id", "sidecar"),
    f"{_ENV}/freezes": ("name",), f"{_ENV}/log_keys": ("origin", "public_key"), "invariants.json/invariants": ("id",),
}  # fmt: skip
"""Arrays of objects that are known by these fields; where two share them, they are told apart by their place."""


@cache
def table() -> dict[str, Meaning]:
    """Every line, by pattern."""
    caps = {
        f"{place}/{{currency}}/{name}": Meaning(f"{words} of {{currency}}{whose}", CAP, unit)
        for place, whose in ((f"{_ENV}/caps", ""), (f"{_ENV}/participants/{{participant}}/caps", " for {participant}"))
        for name, (words, unit) in _CAP_FIELDS.items()
    }
    sidecars = {f"services/{{service}}/sidecar/{name}": one for name, one in _SIDECAR.items()}
    return {**_TABLE, **caps, **sidecars}


@cache
def _by_length() -> dict[int, list[tuple[str, tuple[str, ...]]]]:
    found: dict[int, list[tuple[str, tuple[str, ...]]]] = {}
    for pattern in {*table(), *UNORDERED, *KEYED}:
        parts = tuple(pattern.split("/"))
        found.setdefault(len(parts), []).append((pattern, parts))
    return found


def pattern_of(path: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The pattern that a path fits, and what its names stand for; an empty pattern where none does."""
    for pattern, parts in _by_length().get(len(path), []):
        if all(part.startswith("{") or part == one for part, one in zip(parts, path, strict=True)):
            return pattern, {part[1:-1]: one for part, one in zip(parts, path, strict=True) if part.startswith("{")}
    return "", {}
