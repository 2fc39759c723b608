"""Station 1, attest: who, intact, fresh, bound (ATT-01 to ATT-09, ATT-15 to ATT-17; design section 3.1).

``Attestor`` judges a request, ``writer_check`` judges it again in the writer, ``RejectLimiter`` bounds the rows that
strangers can cause, ``acceptor_context`` is the TLS of the acceptor.
"""

from sidecar.attestation.attestor import Attestor
from sidecar.attestation.certificates import x5t_s256
from sidecar.attestation.rejects import RejectAggregate, RejectLimiter, source_of
from sidecar.attestation.requests import presented_of
from sidecar.attestation.revocations import RevocationView
from sidecar.attestation.tls import AcceptorContext, HandshakeRefusal, acceptor_context
from sidecar.attestation.values import Presented, Rejected, Verified
from sidecar.attestation.writer import attestor_of, writer_check

__all__ = [
    "AcceptorContext",
    "Attestor",
    "HandshakeRefusal",
    "Presented",
    "RejectAggregate",
    "RejectLimiter",
    "Rejected",
    "RevocationView",
    "Verified",
    "acceptor_context",
    "attestor_of",
    "presented_of",
    "source_of",
    "writer_check",
    "x5t_s256",
]
