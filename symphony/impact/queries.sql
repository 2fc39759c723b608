-- Recorded decisions for a replay; read-only, under symphony_replay.

-- name: moment
-- The database's clock, and the snapshot that other connections take too.
SELECT clock_timestamp(), pg_export_snapshot()

-- name: minutes
SELECT date_trunc('minute', i.created_at) AS minute, count(*)
FROM symphony.payment_instructions AS i
WHERE i.created_at >= %(since)s AND i.created_at < %(until)s
GROUP BY 1 ORDER BY 1

-- name: recorded
-- Row of ``symphony.impact.replay``. The payload is written in the same commit; the margin only bounds the partitions looked at.
SELECT i.decision = 'ALLOW', i.reason_code, i.detail, i.participant_id, i.rail, i.amount_minor, i.currency, i.instructing_agent,
    floor(extract(epoch FROM i.created_at) / 3600)::bigint, p.decision_input
FROM symphony.payment_instructions AS i
LEFT JOIN symphony.payloads AS p ON p.instruction_id = i.instruction_id
    AND p.created_at >= %(since)s - interval '1 hour' AND p.created_at < %(until)s + interval '1 hour'
WHERE i.created_at >= %(since)s AND i.created_at < %(until)s

-- name: newest
-- The newest decisions of the window with their frozen inputs, NULL where there is none.
SELECT i.instruction_id::text, p.decision_input
FROM (
    SELECT c.instruction_id FROM symphony.payment_instructions AS c
    WHERE c.created_at >= %(since)s AND c.created_at < %(until)s
    ORDER BY c.created_at DESC, c.instruction_id LIMIT %(count)s
) AS i
LEFT JOIN symphony.payloads AS p ON p.instruction_id = i.instruction_id
    AND p.created_at >= %(since)s - interval '1 hour' AND p.created_at < %(until)s + interval '1 hour'
