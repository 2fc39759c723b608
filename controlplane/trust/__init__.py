"""The custodians' metadata, revocation lists, and the online signing of snapshot and timestamp (design section 4)."""
