-- The highest release ever accepted; also what readiness asks.
SELECT number, metadata_digest FROM ledger.highest_release()
