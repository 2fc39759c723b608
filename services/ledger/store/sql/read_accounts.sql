-- A page of settlement accounts with derived balances.
SELECT * FROM ledger.read_accounts(%s::bigint, %s::integer)
