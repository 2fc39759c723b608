"""The acceptor's TLS, on top of ``contracts.tls`` (ATT-02 step 2, SEC-06).

Rules:

* TLS 1.3 only, no session tickets: a resumed session would bypass revocation;
* a client without a certificate gets through the handshake, so that the application refuses it with a code and a
  record (``CERTIFICATE_MISSING``); a certificate that is presented must be of an authority of the release;
* a handshake that is refused leaves no trace in OpenSSL's users: here it is reported, without the peer's bytes;
* the authorities change with a release: ``reload`` takes effect on the next handshake (a live context cannot forget
  an authority, so a new one is built and handed out), held connections are judged per request by the ``Attestor``.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import CannotEvaluate

_LOG = logging.getLogger("symphony.attestation.tls")
_TIME_ERRORS = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""


@dataclass(frozen=True, slots=True)
class HandshakeRefusal:
    """A refused handshake. ``code`` is of the closed list where the certificate was the cause, else ``None``."""

    code: str | None
    reason: str


OnRefused = Callable[[HandshakeRefusal], None]


class AcceptorContext(ssl.SSLContext):
    """A server context whose connections come from a context that ``reload`` can replace."""

    _current: ssl.SSLContext
    _certificate: Path
    _key: Path
    _on_refused: OnRefused

    @classmethod
    def of(cls, certificate: Path, key: Path, authorities: Sequence[str], on_refused: OnRefused) -> AcceptorContext:
        """See ``acceptor_context``."""
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._certificate, context._key, context._on_refused = certificate, key, on_refused
        context.reload(authorities)
        return context

    def reload(self, authorities: Sequence[str]) -> None:
        """Build the context for these authorities (PEM) and the certificate files as they are now.

        Raises ``CannotEvaluate CONFIGURATION``; the context before stays.
        """
        self._current = _context(self._certificate, self._key, authorities, self._on_refused)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As ``ssl.SSLContext.wrap_bio``, of the current context (asyncio and uvloop both call this)."""
        return self._current.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def acceptor_context(
    certificate: Path, key: Path, authorities: Sequence[str], *, on_refused: OnRefused
) -> AcceptorContext:
    """The acceptor's context, for ``contracts.tls.uvicorn_config(context=…)``. ``authorities`` as PEM, of the release.

    ``on_refused`` runs on the event loop's thread and must be quick. Raises ``CannotEvaluate CONFIGURATION``.
    """
    return AcceptorContext.of(certificate, key, authorities, on_refused)


def _context(certificate: Path, key: Path, authorities: Sequence[str], on_refused: OnRefused) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    context.sslobject_class = _reporting(on_refused)
    try:
        context.load_cert_chain(certificate, key)
        if authorities:
            context.load_verify_locations(cadata="\n".join(authorities))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CannotEvaluate("CONFIGURATION", f"TLS files {certificate}, {key}, authorities: {error}") from error
    return context


def _reporting(on_refused: OnRefused) -> type[ssl.SSLObject]:
    """A class of TLS objects that reports a refused handshake, then raises as before."""

    class Reporting(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                _report(on_refused, error)
                raise

    return Reporting


def _report(on_refused: OnRefused, error: ssl.SSLError) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = "CERTIFICATE_EXPIRED" if error.verify_code in _TIME_ERRORS else "CERTIFICATE_UNTRUSTED"
        refusal = HandshakeRefusal(code, error.verify_message)
    else:
        refusal = HandshakeRefusal(None, error.reason or "unknown")
    _LOG.warning("a TLS handshake was refused: %s", refusal.reason)
    on_refused(refusal)
