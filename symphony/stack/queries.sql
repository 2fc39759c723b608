-- Reports over a local stack; read-only, under the reading roles.

-- name: doctor_sidecar
SELECT (SELECT max(number) FROM symphony.accepted_releases) AS release,
    (SELECT max(epoch) FROM symphony.writer_epochs) AS epoch,
    (SELECT max(next_seq) - 1 FROM symphony.writer_epochs) AS last_seq,
    (SELECT coalesce(sum(symphony.evidence_backlog(stream)), 0)::bigint FROM symphony.writer_epochs) AS evidence_backlog,
    (SELECT count(*) FROM symphony.payment_instructions WHERE decision = 'ALLOW') AS accepted,
    (SELECT count(*) FROM symphony.payment_instructions WHERE decision = 'REFUSED') AS refused,
    (SELECT count(*) FROM symphony.payment_terminals) AS ended,
    (SELECT count(*) FROM symphony.payment_terminals WHERE state = 'DISPATCHED') AS dispatched,
    (SELECT count(*) FROM symphony.payment_outbox_pending) AS pending,
    (SELECT count(*) FROM symphony.outbox_leases) AS leased,
    (SELECT min(expires_at) FROM symphony.outbox_leases) AS lease_expires_at,
    (SELECT count(*) FROM symphony.parked) AS parked

-- name: instructions
SELECT i.instruction_id, i.participant_id, i.sequence_id, i.amount_minor, i.currency, i.instructing_agent, i.instructed_agent,
    s.state, s.terminal_state
FROM symphony.payment_instructions AS i JOIN symphony.instruction_states AS s USING (instruction_id)
WHERE i.decision = 'ALLOW'

-- name: sequence_gaps
SELECT c.participant_id, c.next_sequence_id - 1 AS given_out, count(i.instruction_id) AS recorded,
    c.next_tenant_seq_no - 1 AS attested,
    (SELECT count(*) FROM symphony.ingress_attestations AS a WHERE a.tenant_id = c.participant_id) AS attestations
FROM symphony.participant_outbox_sequences AS c
LEFT JOIN symphony.payment_instructions AS i ON i.participant_id = c.participant_id AND i.decision = 'ALLOW'
GROUP BY c.participant_id, c.next_sequence_id, c.next_tenant_seq_no

-- name: stream_gaps
SELECT w.stream, w.next_seq - 1 AS given_out, count(r.stream_seq) AS recorded, count(DISTINCT r.stream_seq) AS distinct_numbers
FROM symphony.writer_epochs AS w LEFT JOIN symphony.evidence_records AS r ON true
GROUP BY w.stream, w.next_seq

-- name: postings
SELECT p.instruction_id, p.amount_minor, p.currency, p.posted_at,
    max(a.agent) FILTER (WHERE l.side = 'D') AS debit_agent, max(a.agent) FILTER (WHERE l.side = 'C') AS credit_agent,
    sum(l.amount_minor) AS balance, count(l.side) AS entries
FROM ledger.postings AS p
JOIN ledger.lines AS l USING (posting_id) JOIN ledger.accounts AS a USING (account_id)
WHERE p.purpose = 'post'
GROUP BY p.posting_id, p.instruction_id, p.amount_minor, p.currency, p.posted_at

-- name: ledger_refusals
SELECT reason_code, sum(count)::bigint AS count FROM ledger.refusals GROUP BY reason_code ORDER BY reason_code

-- name: refusals_of_body
SELECT refusal_id, refused_at FROM ledger.refusals WHERE body_sha256 = %s AND reason_code = %s

-- name: shipped_allows
SELECT item ->> 'instruction_id' AS instruction_id, (item ->> 'amount_minor')::bigint AS amount_minor
FROM symphony.log_leaves AS l
CROSS JOIN LATERAL jsonb_array_elements(convert_from(l.record, 'UTF8')::jsonb -> 'instructions') AS item
WHERE l.kind = 'attestation' AND item ->> 'decision' = 'ALLOW'

-- name: instruction
SELECT i.*, s.state, s.terminal_state, s.finished_at, s.rail_reference
FROM symphony.payment_instructions AS i JOIN symphony.instruction_states AS s USING (instruction_id)
WHERE i.instruction_id = %s

-- name: attestation
SELECT attestation_id, received_at_utc, verified_utc, decision, reject_reason_code, pop_mode, signature_alg, tenant_seq_no, jwt_iss,
    presented_cert_fingerprint_sha256, policy_version_id, stream_seq, leaf_hash
FROM symphony.ingress_attestations WHERE attestation_id = %s

-- name: attempts
SELECT attempt_no, state::text AS state, epoch, claimed_at, created_at, rail, rail_reference, error_class, error_code, latency_us,
    policy_version, stream_seq, leaf_hash
FROM symphony.payment_outbox_attempts WHERE outbox_id = %s ORDER BY stream_seq

-- name: log_places
SELECT l.index, l.seq FROM symphony.log_leaves AS l WHERE l.stream = %s AND l.seq = ANY (%s)

-- name: posting
SELECT posting_id, posted_at, amount_minor, currency, epoch, attempt, release_number FROM ledger.postings
WHERE instruction_id = %s AND purpose = 'post'

-- name: revoked
SELECT 1 AS known FROM symphony.revocations WHERE kind = 'certificate' AND id = %s

-- name: latest
SELECT instruction_id FROM symphony.payment_instructions ORDER BY created_at DESC LIMIT 1

-- name: accepted_release
SELECT number, metadata_digest FROM symphony.accepted_releases ORDER BY number DESC LIMIT 1

-- name: in_doubt
SELECT i.instruction_id, i.participant_id, i.amount_minor, i.currency, i.instructing_agent, i.instructed_agent, i.created_at,
    d.reason_code, d.parked_at, d.recoveries, d.expires_at, a.unanswered_since, a.attempts
FROM (
    SELECT k.outbox_id, k.reason_code, k.parked_at, NULL::integer AS recoveries, NULL::timestamptz AS expires_at FROM symphony.parked AS k
    UNION ALL
    SELECT l.outbox_id, NULL, NULL, l.recoveries, l.expires_at FROM symphony.outbox_leases AS l
    WHERE l.recoveries > 0 OR l.expires_at <= clock_timestamp()
) AS d
JOIN symphony.payment_instructions AS i ON i.instruction_id = d.outbox_id
CROSS JOIN LATERAL (
    SELECT min(x.claimed_at) AS unanswered_since, max(x.attempt_no) AS attempts
    FROM symphony.payment_outbox_attempts AS x WHERE x.outbox_id = d.outbox_id
) AS a
ORDER BY i.created_at, i.instruction_id

-- name: parked_of
SELECT k.reason_code, k.parked_at FROM symphony.parked AS k WHERE k.outbox_id = %s

-- name: resolution_of
SELECT r.resolution_id, r.decision, r.reason, r.maker, r.checker, r.evidence_reference, r.resolved_at,
    (SELECT e.stream_seq FROM symphony.evidence_events AS e
     WHERE e.instruction_id = r.outbox_id AND e.event_type = 'RESOLUTION' LIMIT 1) AS stream_seq
FROM symphony.resolutions AS r WHERE r.outbox_id = %s
