-- A page of refusals, after exclusive, by id.
SELECT * FROM ledger.read_refusals(%s::bigint, %s::integer)
