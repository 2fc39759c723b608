"""Who is at the other end of the connection: a client certificate that was enrolled, until OIDC is there.

Access only: what a sidecar trusts are the officers' signatures in the release, never this.
"""

from controlplane.identity.services import Principal, enrol_file, identify, opened_envelope, require

__all__ = ["Principal", "enrol_file", "identify", "opened_envelope", "require"]
