-- Record refusals; one element a row.
SELECT ledger.record_refusals(%s::text[], %s::bytea[], %s::bytea[], %s::uuid[], %s::text[], %s::bigint[])
