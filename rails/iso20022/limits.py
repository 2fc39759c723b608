"""Every bound of the ISO 20022 adapter on one screen, each with its reason."""

from __future__ import annotations

from typing import Final

# messages -------------------------------------------------------------------------------------------------------------
MESSAGE_BYTES_MAX: Final = 10 * 1024 * 1024
"""The largest body that a service manifest may admit."""
DEPTH_MAX: Final = 64
"""A pacs.008 is 20 deep with its envelope; libxml2 itself stops at 256."""
TAGS_MAX: Final = 400_000
"""512 transactions of 390 elements each; keeps the tree of a hostile body under 100 MB."""
EMBEDDED_TEXTS_MAX: Final = 16
"""Text nodes of an envelope that are looked at for a message in CDATA."""
DETAIL_CHARACTERS_MAX: Final = 200
"""A detail names an element and a rule; it is not a place for payload."""
PARSED_BYTES_PER_THREAD_MAX: Final = 128 * 1024 * 1024
"""libxml2 keeps every name it has seen for the life of a thread: a thread that read this much is replaced."""
READ_TOGETHER_MAX: Final = 16
"""Messages handed to the reading thread at once; none waits for the answer of more than fifteen others."""

# schemas --------------------------------------------------------------------------------------------------------------
SCHEMA_BYTES_MAX: Final = 2 * 1024 * 1024
SCHEMAS_MAX: Final = 200
RELEASES_KEPT_MAX: Final = 4
"""The active release, the one before (calls still under way), and a refused one or two."""
FUTURE_DAYS_MAX: Final = 1
"""How far ahead of us a message may be dated: the widest time zones are 26 hours apart."""

# ledger ---------------------------------------------------------------------------------------------------------------
CONNECTIONS_MAX: Final = 32
ITEMS_MAX: Final = 2000
"""Items in one submit; the largest batch that a manifest may name."""
IDLE_S_MAX: Final = 20.0
"""A kept connection is dropped well before the server's own 75 s, so that none is closed under a request."""
RESPONSE_BODY_BYTES_MAX: Final = 4 * 1024 * 1024
RESPONSE_HEADER_BYTES_MAX: Final = 32 * 1024
REFERENCE_CHARACTERS_MAX: Final = 64
