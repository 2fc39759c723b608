-- Seal a batch of instructions; one row an item, in order.
SELECT outcome, posting_id, posted_at FROM ledger.seal(%b, %b, %b, %b, %b, %b, %b)
