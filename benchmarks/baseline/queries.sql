-- name: spend_token
INSERT INTO payments.seen_jti VALUES (%s, to_timestamp(%s))

-- name: take_usage
INSERT INTO payments.usage_daily AS u VALUES (%s, %s, %s, %s, 1)
ON CONFLICT (participant_id, currency, day) DO UPDATE SET
    value_minor = u.value_minor + EXCLUDED.value_minor, payment_count = u.payment_count + 1
RETURNING value_minor, payment_count

-- name: attestation
INSERT INTO payments.attestations VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'ACCEPT', %b, %b)

-- name: instruction
INSERT INTO payments.instructions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %b, %b)

-- name: enqueue
INSERT INTO payments.outbox VALUES (%s, %s, %s)

-- name: dequeue
DELETE FROM payments.outbox WHERE outbox_id = %s

-- name: attempt
INSERT INTO payments.attempts (attempt_id, outbox_id, state, evidence, leaf_hash) VALUES (%s, %s, %s, %b, %b)

-- name: terminal
INSERT INTO payments.terminals (outbox_id, state, posting_id) VALUES (%s, 'DISPATCHED', %s)

-- name: posting
INSERT INTO ledger.postings VALUES (%s, %s, %s, %s, %s)

-- name: lines
INSERT INTO ledger.lines VALUES (%s, 'D', %s, %s, %s), (%s, 'C', %s, %s, %s)
