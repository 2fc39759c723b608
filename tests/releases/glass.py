"""Emergency releases for tests: sealed, opened, closed, in a mirror whose online keys the test holds."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.release import emergency
from contracts.release.emergency import Sealed
from contracts.release.envelope import countersigned
from contracts.release.trust import Trust, root_of, trust_of
from symphony.release.emergency import Bounds, EmergencyDraft, closing, draft, opening
from tests.releases.support import ENVIRONMENT, Mirror, World, sign_file

ROLE = f"{ENVIRONMENT}-emergency"
CAPS = {"ZMW": {"payment_minor_max": 500, "daily_minor_max": 5_000, "daily_count_max": 10}}
BOUNDS = Bounds(CAPS, valid_for_s=3600, review_within_s=7200)


def trust(world: World) -> Trust:
    """The custodians' word on emergencies."""
    found = trust_of(root_of(world.root), world.trust["targets.json"], ENVIRONMENT)
    return emergency.trust_for_emergencies(found, ENVIRONMENT)


def sealed_draft(world: World, number: int = 1, bounds: Bounds = BOUNDS, **changes: Any) -> EmergencyDraft:
    """Emergency ``number``, sealed by alice, with a policy that is the release's own (the bounds tell them apart)."""
    files = changes.pop("files", None) or world.files()
    arguments: dict[str, Any] = {
        "environment": ENVIRONMENT, "number": number, "reason": "the rail is down", "change_ticket": "CHG-9",
        "now": world.clock.now(),
    }  # fmt: skip
    gate = changes.pop("gate", None) or world.gate(files)
    officer = changes.pop("officer", None) or world.officer("alice")
    return draft(officer, files, gate, bounds, **{**arguments, **changes})


def role_file(world: World, made: EmergencyDraft, *names: str) -> bytes:
    """Its role file, signed by officers."""
    return sign_file(made.metadata, *(world.ceremony.officer(name) for name in names or ("bruno", "chanda")))


def sealed_of(world: World, made: EmergencyDraft) -> Sealed:
    """As the rules read it."""
    return emergency.verify_sealed(trust(world), role_file(world, made), ENVIRONMENT)


def opened(world: World, made: EmergencyDraft, *names: str, over: int = 1, **changes: Any) -> dict[str, Any]:
    """An opening by officers."""
    first, *others = names or ("alice", "bruno")
    sealed = changes.pop("sealed", None) or sealed_of(world, made)
    arguments = {"over": over, "reason": "the rail is down", "now": world.clock.now(), **changes}
    envelope = opening(world.officer(first), sealed, **arguments)
    for name in others:
        envelope = countersigned(envelope, world.ceremony.officer(name))
    return envelope


def closed(world: World, made: EmergencyDraft, envelope: dict[str, Any], name: str = "dalitso") -> dict[str, Any]:
    """A closing by an officer."""
    digest = emergency.payload_sha256(envelope)
    return closing(world.officer(name), sealed_of(world, made), digest, reason="it is over", now=world.clock.now())


def edited(envelope: dict[str, Any], *keys: Ed25519PrivateKey, **fields: Any) -> dict[str, Any]:
    """The envelope with other fields, signed anew by keys."""
    from contracts.canonical import canonical_bytes
    from contracts.release.envelope import make_envelope

    claims = {**json.loads(base64.b64decode(envelope["payload"])), **fields}
    first, *others = keys
    made = make_envelope(first, envelope["payloadType"], canonical_bytes(claims))
    for key in others:
        made = countersigned(made, key)
    return made


def put_sealed(mirror: Mirror, made: EmergencyDraft, content: bytes | None = None) -> None:
    """Publish a sealed release's role file; its targets lie ready, as after its opening."""
    content = content or role_file(mirror.world, made)
    for path, data in made.files.items():
        listed = json.loads(content)["signed"]["targets"].get(f"{ROLE}/{made.number}/{path}", {"hashes": {}})
        place = mirror.folder / "targets" / ROLE / str(made.number)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{listed['hashes'].get('sha256', 'none')}.{path}").write_bytes(data)
    mirror.put(ROLE, made.number, content)


def put_document(mirror: Mirror, number: int, opening: Any, closing: Any = None) -> None:
    """Serve an opening, and a closing."""
    place = mirror.folder / "emergency" / ENVIRONMENT
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{number}.json").write_text(json.dumps({"opening": opening, "closing": closing}))
