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
