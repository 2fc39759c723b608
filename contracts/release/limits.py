"""Every bound of release verification on one screen."""

from datetime import timedelta

ROOT_BYTES_MAX = 512_000
TIMESTAMP_BYTES_MAX = 16_384
SNAPSHOT_BYTES_MAX = 512_000
ROLE_BYTES_MAX = 2_000_000
ROOT_ROTATIONS_MAX = 64
"""Root versions fetched in one refresh; each is one round trip."""

TARGETS_MAX = 400
TARGET_BYTES_MAX = 16 * 1024 * 1024
RELEASE_BYTES_MAX = 64 * 1024 * 1024
REVOCATIONS_MAX = 100_000
REFRESH_TIMEOUT_S = 60.0
"""Everything that one refresh fetches, together; a peer that drips bytes is cut off."""

ACTIVATE_BEFORE_AHEAD_MAX = timedelta(days=7)

EMERGENCY_SEALED_MAX = timedelta(days=90)
"""How long a sealed emergency release may wait to be opened."""
EMERGENCY_VALID_S_MIN, EMERGENCY_VALID_S_MAX = 60, 24 * 3600
"""How long one may stand once it is open."""
EMERGENCY_REVIEW_S_MIN, EMERGENCY_REVIEW_S_MAX = 3600, 72 * 3600
"""How long after its opening it must have been reviewed; promotions freeze then."""
EMERGENCY_OPENERS_MIN = 2
EMERGENCY_CURRENCIES_MAX = 50
EMERGENCY_ENVELOPE_BYTES_MAX = 16 * 1024
EMERGENCY_DOCUMENT_BYTES_MAX = 4 * EMERGENCY_ENVELOPE_BYTES_MAX
EMERGENCY_SIGNATURES_MAX = 16
EMERGENCY_CLOCKS_APART_MAX = timedelta(seconds=60)
EMERGENCY_OPENING_WITHIN = timedelta(minutes=15)
"""How old an opening may be when an officer signs it, by its own time; the follower does not ask."""
