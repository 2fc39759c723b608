"""What an OPA sends, read strictly: a status, a decision log. Pure functions over bytes; nothing of a payload comes out.

Rules (design section 8: "only counts, values and digests reach the control plane"):

* bounds: ``STATUS_BYTES_MAX``; a log of ``LOG_BYTES_MAX`` as sent and ``LOG_PLAIN_BYTES_MAX`` out of gzip, which is one
  whole member with nothing behind it, ``DECISIONS_MAX`` decisions;
* an input that the OPA masked is ``{"sha256": <hex>}`` (``symphony opa config`` writes that mask) and is kept as told;
  any other input is digested here over its RFC 8785 bytes and dropped, and the decision says that it came unmasked;
* of a result only the number of allows and denies stays, of an error that there was one.

Shapes: OPA 1.22.2 ``plugins/status.UpdateRequestV1`` and ``plugins/logs.EventV1``; unknown fields are left alone, because
OPA adds some with every version.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.canonical import digest_of, parse_json
from contracts.errors import Refused

STATUS_BYTES_MAX = 512 * 1024
"""A status carries the OPA's own metrics; all are dropped."""
LOG_BYTES_MAX = 512 * 1024
LOG_PLAIN_BYTES_MAX = 8 * 1024 * 1024
DECISIONS_MAX = 5000
BUNDLE = "symphony"
"""The bundle's name in the configuration that ``symphony opa config`` writes."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATH_MAX, _REVISION_MAX, _CODE_MAX, _MESSAGE_MAX = 200, 128, 64, 300
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GZIP = 31  # zlib's window bits for "one gzip member"


@dataclass(frozen=True, slots=True)
class Status:
    """The last word of one OPA server."""

    instance: str
    version: str
    active_revision: str | None
    activated_at: datetime | None
    bundle_code: str | None
    bundle_message: str | None
    decision_log_code: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision as counts and digests."""

    decision_id: str
    instance: str
    path: str
    revision: str | None
    input_sha256: str | None
    input_masked: bool
    allowed: int
    denied: int
    failed: bool
    decided_at: datetime


def status_of(body: dict[str, Any]) -> Status:
    """A status report. Raises ``Refused REQUEST_INVALID`` with the field."""
    bundle = _bundle(body)
    logs = _object(body.get("decision_logs", {}), "decision_logs")
    activated = _moment(bundle.get("last_successful_activation"), "last_successful_activation")
    return Status(
        instance=_instance(body),
        version=_text(_object(body.get("labels"), "labels").get("version"), 64) or "unknown",
        active_revision=_text(bundle.get("active_revision"), _REVISION_MAX),
        activated_at=activated if activated and activated.year > 1 else None,
        bundle_code=_text(bundle.get("code"), _CODE_MAX),
        bundle_message=_text(bundle.get("message"), _MESSAGE_MAX),
        decision_log_code=_text(logs.get("code"), _CODE_MAX),
    )


def decisions_of(body: bytes, encoding: str) -> list[Decision]:
    """The decisions of one upload. Raises ``Refused REQUEST_INVALID``."""
    events = parse_json(_plain(body, encoding), bytes_max=LOG_PLAIN_BYTES_MAX)
    if not isinstance(events, list) or not 1 <= len(events) <= DECISIONS_MAX:
        raise Refused("REQUEST_INVALID", f"a decision log is a list of 1 to {DECISIONS_MAX} decisions")
    return [_decision(_object(event, "a decision")) for event in events]


def _plain(body: bytes, encoding: str) -> bytes:
    """The body out of its encoding, never more than the bound: a bomb is cut off where it passes it."""
    if encoding in {"", "identity"}:
        return body
    if encoding != "gzip":
        raise Refused("REQUEST_INVALID", "content-encoding: gzip or none")
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(body, LOG_PLAIN_BYTES_MAX + 1)
    except zlib.error as error:
        raise Refused("REQUEST_INVALID", "the body is not gzip") from error
    if len(plain) > LOG_PLAIN_BYTES_MAX:
        raise Refused("REQUEST_INVALID", f"the body is over {LOG_PLAIN_BYTES_MAX} bytes out of gzip")
    if not stream.eof or stream.unused_data:
        raise Refused("REQUEST_INVALID", "the body is not one whole gzip member")
    return plain


def _decision(event: dict[str, Any]) -> Decision:
    decided_at = _moment(event.get("timestamp"), "timestamp")
    if decided_at is None:
        raise Refused("REQUEST_INVALID", "timestamp")
    digest, masked = _input(event)
    verdicts = _verdicts(event.get("result"))
    revision = _bundle(event).get("revision", event.get("revision"))
    return Decision(
        decision_id=_id(event.get("decision_id"), "decision_id"),
        instance=_instance(event),
        path=_text(event.get("path") or event.get("query"), _PATH_MAX) or "",
        revision=_text(revision, _REVISION_MAX),
        input_sha256=digest,
        input_masked=masked,
        allowed=sum(verdicts),
        denied=len(verdicts) - sum(verdicts),
        failed=event.get("error") is not None,
        decided_at=decided_at,
    )


def _input(event: dict[str, Any]) -> tuple[str | None, bool]:
    """Digest of the input, and whether the OPA had masked it. ``None`` for none, or one that has no canonical form."""
    if "input" not in event:
        return None, True
    value = event["input"]
    if isinstance(value, dict) and set(value) == {"sha256"}:
        digest = value["sha256"]
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise Refused("REQUEST_INVALID", "input.sha256")
        return digest, True
    try:
        return digest_of(value), False
    except (Refused, UnicodeEncodeError):
        return None, False


def _verdicts(result: Any) -> list[bool]:
    """Each ``allow`` of a result: of itself, or of the decisions in it by their index."""
    if isinstance(result, bool):
        return [result]
    if not isinstance(result, dict):
        return []
    found = [result] if "allow" in result else [one for one in result.values() if isinstance(one, dict)]
    return [one["allow"] is True for one in found if "allow" in one]


def _bundle(body: dict[str, Any]) -> dict[str, Any]:
    """The bundle of ours, or the only one."""
    found = _object(body.get("bundles", {}), "bundles")
    return _object(found.get(BUNDLE, next(iter(found.values())) if len(found) == 1 else {}), "bundles")


def _instance(body: dict[str, Any]) -> str:
    return _id(_object(body.get("labels"), "labels").get("id"), "labels.id")


def _id(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Refused("REQUEST_INVALID", f"{field}: 1 to 64 plain characters are needed")
    return value


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("REQUEST_INVALID", field)
    return value


def _text(value: Any, characters_max: int) -> str | None:
    """Text for a person to read, cut, without what is not printable; ``None`` for nothing."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else " " for c in value[:characters_max]) or None


def _moment(value: Any, field: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Refused("REQUEST_INVALID", f"{field}: RFC 3339 is needed") from error
    if moment.tzinfo is None:
        raise Refused("REQUEST_INVALID", f"{field}: without a time zone")
    return moment
