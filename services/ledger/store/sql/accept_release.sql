-- Record an accepted release, durably, before it is active.
SELECT ledger.accept_release(%s::bigint, %s::text)
