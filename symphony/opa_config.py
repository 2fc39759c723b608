"""What a stock OPA needs to run on our releases: its configuration and the mask of its decision log.

The OPA downloads the active bundle by long poll over mTLS, verifies its signature by the build key (the one that the
custodians name, verified here from the pinned root), and reports status and decisions. The mask replaces each input by
its SHA-256 before anything leaves the OPA (design section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import CannotEvaluate
from contracts.opa_bundle import ALGORITHM, SCOPE
from contracts.release import HttpsSource, ReleaseFollower
from contracts.release.record import FileRecord
from contracts.release.trust import Trust, root_of, trust_of
from contracts.times import SystemClock
from contracts.tls import client_context
from symphony.release.client import ControlPlane

BUNDLE = "symphony"
LONG_POLL_S = 30
RETRY_S = (1, 5)
"""Between two tries after an error, and where the server takes no long poll: least, most."""
REPORT_S = (1, 5)
UPLOAD_BYTES_MAX = 256 * 1024
"""Half of what the control plane takes."""
MASK = """# Nothing of a payment leaves this OPA: the decision log carries the SHA-256 of each input, and no other part of it.
package system.log

mask contains {"op": "upsert", "path": "/input", "value": {"sha256": crypto.sha256(json.marshal(input.input))}}

mask contains "/nd_builtin_cache"
"""


@dataclass(frozen=True, slots=True)
class Client:
    """A service's way to the control plane: address, authority, its own certificate and key."""

    url: str
    ca: Path
    certificate: Path
    key: Path


def configuration(client: Client, environment: str, service: str, root: bytes) -> dict[str, Any]:
    """OPA's configuration file; only paths of secrets stand in it. Raises ``NotTrusted`` for a key not of the custodians."""
    trust = _trust(client, environment, root)
    ours = {
        "credentials": {"client_tls": {"cert": str(client.certificate), "private_key": str(client.key)}},
        "tls": {"ca_cert": str(client.ca)},
    }
    return {
        "labels": {"service": service, "environment": environment},
        "services": {
            "symphony": {"url": client.url, **ours},
            "symphony-reports": {"url": f"{client.url}/v1/opa", **ours},
        },
        "keys": {trust.build_key_id: {"algorithm": ALGORITHM, "key": trust.build_key_pem}},
        "bundles": {
            BUNDLE: {
                "service": "symphony", "resource": f"bundles/{environment}/policy.tar.gz",
                "signing": {"keyid": trust.build_key_id, "scope": SCOPE},
                "polling": {**_delays(RETRY_S), "long_polling_timeout_seconds": LONG_POLL_S},
            },
        },
        "status": {"service": "symphony-reports"},
        "decision_logs": {
            "service": "symphony-reports",
            "reporting": {**_delays(REPORT_S), "upload_size_limit_bytes": UPLOAD_BYTES_MAX},
        },
    }  # fmt: skip


def environment_data(client: Client, environment: str, service: str, root: bytes, folder: Path) -> dict[str, Any]:
    """The active release's environment data, by every rule that a sidecar holds it to; ``folder`` keeps what was accepted.

    Raises ``NotTrusted RELEASE_*``, ``CannotEvaluate RELEASE_UNREACHABLE`` or ``NO_ACTIVE_RELEASE``.
    """
    source = HttpsSource(f"{client.url}/tuf", client_context(client.certificate, client.key, client.ca))
    follower = ReleaseFollower(
        environment=environment, service=service, folder=folder, root_bytes=root, source=source,
        record=FileRecord(folder / "accepted.json"), clock=SystemClock(),
    )  # fmt: skip
    try:
        follower.start()
        follower.refresh()
    finally:
        source.close()
    if follower.active is None:
        raise CannotEvaluate("NO_ACTIVE_RELEASE", f"{environment} has none")
    return follower.active.environment_data


def _trust(client: Client, environment: str, root: bytes) -> Trust:
    control = ControlPlane(client.url, client_context(client.certificate, client.key, client.ca))
    roots, targets, _ = control.trust(environment, root_of(root).version)
    return trust_of(root_of(root, roots), targets, environment)


def _delays(seconds: tuple[int, int]) -> dict[str, int]:
    return {"min_delay_seconds": seconds[0], "max_delay_seconds": seconds[1]}
