-- Checks of a sidecar's database. Each answers (seen, violations): nothing seen is not a pass.

-- name: INV-011
-- Enqueue is idempotent on (instruction_id, idempotency_key), and a key belongs to one message of a participant (D9).
SELECT count(*) AS seen, coalesce(array_agg(w.name || ' is not a unique index on ' || w.columns) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indexrelid = to_regclass('symphony.' || w.name) AND i.indisunique AND i.indisvalid
        AND i.indpred IS NULL AND pg_get_indexdef(i.indexrelid) LIKE '%(' || w.columns || ')')), '{}'::text[]) AS violations
FROM (VALUES ('ux_pending_instruction_key', 'instruction_id, idempotency_key'),
    ('ux_instructions_key', 'participant_id, idempotency_key, tx_index')) AS w(name, columns)

-- name: INV-012
-- Claims skip locked rows and take only due ones; nothing is claimed after a terminal.
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE NOT (p.prosrc LIKE '%SKIP LOCKED%'
    AND p.prosrc LIKE '%next_attempt_at <= clock_timestamp()%' AND p.prosrc LIKE '%payment_terminals%')), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p WHERE p.oid = to_regproc('symphony.claim_outbox_batch')

-- name: INV-013
-- Completion is fenced: claimed_by, lease_token, epoch and an unexpired lease.
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE NOT (p.prosrc LIKE '%l.claimed_by = c.claimed_by%'
    AND p.prosrc LIKE '%l.lease_token = c.lease_token%' AND p.prosrc LIKE '%l.epoch = p_epoch%'
    AND p.prosrc LIKE '%l.expires_at > clock_timestamp()%' AND p.prosrc LIKE '%SY003%')), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p WHERE p.oid = to_regproc('symphony.complete_outbox_attempts')

-- name: INV-014
-- Attempts are append-only: row trigger and TRUNCATE trigger, enabled, on the table and on every partition.
SELECT count(*) AS seen, coalesce(array_agg(c.oid::regclass::text) FILTER (WHERE NOT (
    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = 'trg_deny_outbox_attempts_mutation' AND t.tgenabled = 'O')
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgtype & 32 = 32 AND t.tgenabled = 'O'))), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c
WHERE c.oid = to_regclass('symphony.payment_outbox_attempts')
    OR c.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = to_regclass('symphony.payment_outbox_attempts'))

-- name: INV-021
-- Attestations, evidence, revocations, instructions, terminals and sealed batches are append-only in the same way.
SELECT count(*) AS seen, coalesce(array_agg(c.oid::regclass::text) FILTER (WHERE NOT (
    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled = 'O' AND t.tgtype & 27 = 27)
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled = 'O' AND t.tgtype & 32 = 32))), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c
WHERE c.oid = ANY (SELECT to_regclass('symphony.' || name) FROM unnest(ARRAY['ingress_attestations', 'evidence_events', 'revocations',
        'payment_instructions', 'payment_terminals', 'resolutions', 'evidence_batches', 'evidence_shipments', 'accepted_releases']) AS name)
    OR c.oid IN (SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i
        WHERE i.inhparent IN (to_regclass('symphony.ingress_attestations'), to_regclass('symphony.evidence_events')))

-- name: INV-022
-- The outbox demands its attestation: the column is NOT NULL and the enqueue function checks it.
SELECT count(*) AS seen, coalesce(array_agg('payment_outbox_pending.parent_attestation_id'::text) FILTER (WHERE NOT (a.attnotnull
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_proc AS p WHERE p.oid = to_regproc('symphony.enqueue_payment_outbox')
        AND p.prosrc LIKE '%ingress_attestations%' AND p.prosrc LIKE '%23503%'))), '{}'::text[]) AS violations
FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = to_regclass('symphony.payment_outbox_pending') AND a.attname = 'parent_attestation_id'

-- name: INV-023
-- Revocations are durable and asked in the commit that accepts.
SELECT count(*) AS seen, coalesce(array_agg('judge_batch does not ask revocations'::text) FILTER (WHERE NOT p.prosrc LIKE '%symphony.revocations%'), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p
WHERE p.oid = to_regproc('symphony.judge_batch') AND to_regclass('symphony.revocations') IS NOT NULL

-- name: INV-024
-- A token is spent once: the primary key of seen_jti is (expires_day, jti_hash).
SELECT count(*) AS seen, coalesce(array_agg('seen_jti is not unique on (expires_day, jti_hash)'::text) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary
        AND pg_get_indexdef(i.indexrelid) LIKE '%(expires_day, jti_hash)')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.seen_jti')

-- name: I-OUTBOX-01
-- No runtime role can disable the attempts' triggers: none owns the table or is a superuser.
SELECT count(*) AS seen, coalesce(array_agg(r.rolname::text) FILTER (WHERE r.rolsuper OR r.oid = c.relowner OR pg_has_role(r.oid, c.relowner, 'MEMBER')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c CROSS JOIN pg_catalog.pg_roles AS r
WHERE c.oid = to_regclass('symphony.payment_outbox_attempts') AND (r.rolname ~ '^symphony_(ingest|executor|shipper|reader|control|control_reader|ledger|ledger_reader)$' OR r.rolname ~ '^sc_(writer|reader|shipper)$')

-- name: I-OUTBOX-02
-- At most one terminal per outbox_id: the primary key of a table that no partition divides (D6).
SELECT count(*) AS seen, coalesce(array_agg('payment_terminals'::text) FILTER (WHERE NOT (c.relkind = 'r' AND EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND pg_get_indexdef(i.indexrelid) LIKE '%(outbox_id)'))), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.payment_terminals')
