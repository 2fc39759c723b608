"""Every bound of station 1 on one screen. What the signed manifest sets is not here (skew, lifetime, ages)."""

from __future__ import annotations

TOKEN_BYTES_MAX = 8192
"""A token over this is refused before it is decoded; the usual one is 600 bytes."""

CLAIM_TEXT_MAX = 256
"""Characters of ``iss`` and ``jti``."""

SUBJECT_TEXT_MAX = 128
"""Characters of ``sub``, ``aud`` and ``kid``: what the schemas of release data permit."""

MOMENT_S_MAX = 253_402_300_799
"""The end of the year 9999, the last second that a ``datetime`` holds."""

RSA_BITS_MIN = 2048
"""NIST SP 800-131A; what the X.509 verifier demands too."""

IDEMPOTENCY_KEY_MAX = 64
"""Characters of the Idempotency-Key header."""

CERTIFICATES_CACHED_MAX = 10_000
"""Chains held as verified; the oldest goes first. As many as a release may list participants."""

HEADERS_CACHED_MAX = 256
"""Token headers held as read: an issuer sends the same one with every token."""

ATTESTORS_CACHED_MAX = 4
"""Releases whose keys the writer's check holds imported: the active one, its successor and rollbacks."""

SOURCES_MAX = 4096
"""Sources that the reject limiter tells apart; the least recent is folded into ``other``."""

SOURCE_TEXT_MAX = 64
"""Characters of a source's name."""

REJECT_WINDOW_S = 60
"""The window of ``rejects_per_source_per_minute_max``."""

ALL_SOURCES_FACTOR = 20
"""Single reject rows a minute over all sources: this many times what one source may have."""
