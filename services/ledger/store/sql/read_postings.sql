-- A page of postings: from inclusive, after exclusive, to exclusive, by id.
SELECT * FROM ledger.read_postings(%s::uuid, %s::uuid, %s::uuid, %s::integer)
