"""A Sigstore bundle over a release's provenance: who signed it, by an identity instead of a key, checked offline.

For officers, never for a sidecar: the trusted root (a file: Fulcio's authority, the CT log's key, Rekor's key), the identity and
its issuer are this machine's own configuration, and nothing that the control plane says changes them. Where they are configured, a
release without a bundle is not approved here. What is signed is the very bytes of ``provenance.json``. It needs the extra
``symphony[sigstore]``; making a bundle is ``sigstore sign provenance.json`` or a CI's own step.

Not built: an officer's *approval* by a Sigstore identity. Approvals are Ed25519 signatures over TUF metadata, which every sidecar
checks offline from the pinned root (SECURITY.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import CannotEvaluate, Misused, NotTrusted
from contracts.release.build import PROVENANCE, SIGSTORE

_CODE = "RELEASE_PROVENANCE"


@dataclass(frozen=True, slots=True)
class Expected:
    """Whom this machine expects: the certificate's subject alternative name, and the issuer that vouched for it."""

    trusted_root: Path
    identity: str
    issuer: str

    @classmethod
    def of(cls, trusted_root: Path | None, identity: str | None, issuer: str | None) -> Expected | None:
        """All three or none. Raises ``Misused CONFIGURATION``."""
        if trusted_root is None and identity is None and issuer is None:
            return None
        if trusted_root is None or not identity or not issuer:
            raise Misused(
                "CONFIGURATION", "a Sigstore bundle is checked by a trusted root, an identity and its issuer",
                next_step="--sigstore-trusted-root FILE --sigstore-identity NAME --sigstore-issuer URL",
            )  # fmt: skip
        return cls(trusted_root, identity, issuer)

    def check(self, build: Mapping[str, bytes]) -> str:
        """What the bundle says, in a line. ``build``: files by name, already held to the signed digests.

        Raises ``NotTrusted RELEASE_PROVENANCE`` where there is none or it does not hold, ``CannotEvaluate`` without the extra.
        """
        if SIGSTORE not in build or PROVENANCE not in build:
            raise NotTrusted(_CODE, "no Sigstore bundle is attached, and one is configured to be there")
        self._verify(build[SIGSTORE], build[PROVENANCE])
        return f"its provenance is signed by {self.identity}, for whom {self.issuer} vouched (Sigstore)"

    def _verify(self, bundle: bytes, provenance: bytes) -> None:
        try:
            from sigstore.errors import Error
            from sigstore.models import Bundle, TrustedRoot
            from sigstore.verify import Verifier
            from sigstore.verify.policy import Identity
        except ImportError as error:
            raise CannotEvaluate(
                "NOT_BUILT", "the package sigstore is not installed here", next_step="pip install 'symphony[sigstore]'"
            ) from error
        try:
            verifier = Verifier(trusted_root=TrustedRoot.from_file(str(self.trusted_root)))
        except (Error, OSError, ValueError) as error:
            detail = f"{self.trusted_root} is no Sigstore trusted root: {str(error)[:300]}"
            raise Misused("CONFIGURATION", detail, next_step="--sigstore-trusted-root FILE") from error
        try:
            policy = Identity(identity=self.identity, issuer=self.issuer)
            verifier.verify_artifact(provenance, Bundle.from_json(bundle), policy)
        except (Error, ValueError) as error:
            raise NotTrusted(_CODE, f"the Sigstore bundle does not hold: {str(error)[:300]}") from error


def said(build: Mapping[str, bytes], expected: Expected | None) -> list[str]:
    """Lines for whoever approves; a bundle that nobody checked is said to be unchecked. Raises as ``Expected.check``."""
    if expected is not None:
        return [expected.check(build)]
    if SIGSTORE in build:
        return ["a Sigstore bundle is attached and NOT checked: --sigstore-trusted-root, --sigstore-identity, --sigstore-issuer"]
    return []
