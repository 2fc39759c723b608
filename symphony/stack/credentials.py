"""Every development credential helper under one name: certificates and the token issuer."""

from symphony.stack.certificates import (
    Credential,
    issue,
    key_pem,
    load_credential,
    load_key,
    make_ca,
    new_key,
    officer_credential,
    participant_credential,
    process_credential,
    server_credential,
    write_private,
)
from symphony.stack.token_issuer import issue_token, issuer_entry, jwks, public_jwk, sign_claims

__all__ = [
    "Credential",
    "issue",
    "issue_token",
    "issuer_entry",
    "jwks",
    "key_pem",
    "load_credential",
    "load_key",
    "make_ca",
    "new_key",
    "officer_credential",
    "participant_credential",
    "process_credential",
    "public_jwk",
    "server_credential",
    "sign_claims",
    "write_private",
]
