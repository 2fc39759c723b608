"""Releases: proposed, approved, promoted; served as TUF targets and as an OPA bundle (POL-01 to 07)."""
