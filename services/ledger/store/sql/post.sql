-- Post a batch; one row an item, in order.
SELECT outcome, posting_id, posted_at
FROM ledger.post(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
