"""What stock OPA servers say: their status and their decision logs, as counts and digests."""
