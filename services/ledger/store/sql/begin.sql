-- A transaction with the service's rights only, for its length (INV-007). Timeouts are the connection's.
BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL ROLE symphony_ledger
