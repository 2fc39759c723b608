-- Checks of a sidecar's database. Each answers (seen, violations): nothing seen is not a pass.

-- name: INV-011
-- Enqueue is idempotent on (instruction_id, idempotency_key), and a key belongs to one message of a participant (D9).
SELECT count(*) AS seen, coalesce(array_agg(w.name || ' is not a unique index on ' || w.columns) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indexrelid = to_regclass('symphony.' || w.name) AND i.indisunique AND i.indisvalid
        AND i.indpred IS NULL AND pg_get_indexdef(i.indexrelid) LIKE '%(' || w.columns || ')')), '{}'::text[]) AS violations
FROM (VALUES ('ux_pending_instruction_key', 'instruction_id, idempotency_key'),
    ('ux_instructions_key', 'participant_id, idempotency_key, tx_index')) AS w (name, columns)

-- name: INV-012
-- Claims skip locked rows and take only due ones; nothing is claimed after a terminal.
SELECT count(*) AS seen, coalesce(array_agg(p.name) FILTER (WHERE NOT (p.plain LIKE '%SKIP LOCKED%'
    AND p.plain LIKE '%next_attempt_at <= clock_timestamp()%' AND p.plain LIKE '%payment_terminals%')), '{}'::text[]) AS violations
FROM routine AS p WHERE p.nspname = 'symphony' AND p.proname = 'claim_outbox_batch'

-- name: INV-013
-- Completion is fenced: claimed_by, lease_token, epoch and an unexpired lease.
SELECT count(*) AS seen, coalesce(array_agg(p.name) FILTER (WHERE NOT (p.plain LIKE '%l.claimed_by = c.claimed_by%'
    AND p.plain LIKE '%l.lease_token = c.lease_token%' AND p.plain LIKE '%l.epoch = p_epoch%'
    AND p.plain LIKE '%l.expires_at > clock_timestamp()%' AND p.plain LIKE '%SY003%')), '{}'::text[]) AS violations
FROM routine AS p WHERE p.nspname = 'symphony' AND p.proname = 'complete_outbox_attempts'

-- name: INV-014
-- Attempts are append-only: UPDATE, DELETE and TRUNCATE are always refused, on the table and on every partition.
SELECT count(*) AS seen, coalesce(array_agg(coalesce(p.oid::regclass::text, w.name || ' is missing'))
    FILTER (WHERE (g.no_update AND g.no_delete AND g.no_truncate) IS NOT TRUE), '{}'::text[]) AS violations
FROM (VALUES ('symphony.payment_outbox_attempts')) AS w (name) LEFT JOIN part AS p ON p.parent = w.name LEFT JOIN guard AS g ON g.relid = p.oid

-- name: INV-021
-- Attestations exist and are append-only in the same way, and so is the evidence that rides on no payment.
SELECT count(*) AS seen, coalesce(array_agg(coalesce(p.oid::regclass::text, w.name || ' is missing'))
    FILTER (WHERE (g.no_update AND g.no_delete AND g.no_truncate) IS NOT TRUE), '{}'::text[]) AS violations
FROM (VALUES ('symphony.ingress_attestations'), ('symphony.evidence_events')) AS w (name)
LEFT JOIN part AS p ON p.parent = w.name LEFT JOIN guard AS g ON g.relid = p.oid

-- name: INV-022
-- The outbox demands its attestation: the column is NOT NULL, the enqueue function checks it, and no row stands without one.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT 'payment_outbox_pending.parent_attestation_id may be NULL' AS what, NOT a.attnotnull AS bad FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = to_regclass('symphony.payment_outbox_pending') AND a.attname = 'parent_attestation_id'
    UNION ALL
    SELECT 'enqueue_payment_outbox does not check', NOT EXISTS (SELECT 1 FROM routine AS p WHERE p.nspname = 'symphony'
        AND p.proname = 'enqueue_payment_outbox' AND p.plain LIKE '%ingress_attestations%' AND p.plain LIKE '%23503%')
    UNION ALL
    SELECT 'outbox row ' || o.outbox_id || ' has no attestation', true FROM symphony.payment_outbox_pending AS o
    WHERE NOT EXISTS (SELECT 1 FROM symphony.ingress_attestations AS a WHERE a.attestation_id = o.parent_attestation_id)
) AS looked

-- name: INV-023
-- Revocations are durable, only grow, and are asked in the commit that accepts.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT 'judge_batch does not ask revocations' AS what, NOT EXISTS (SELECT 1 FROM routine AS p WHERE p.nspname = 'symphony'
        AND p.proname = 'judge_batch' AND p.plain LIKE '%symphony.revocations%') AS bad
    UNION ALL
    SELECT 'symphony.revocations is missing, lost on a crash, or changeable',
        c.relpersistence IS DISTINCT FROM 'p' OR (g.no_update AND g.no_delete AND g.no_truncate) IS NOT TRUE
    FROM (VALUES (to_regclass('symphony.revocations'))) AS w (oid)
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = w.oid LEFT JOIN guard AS g ON g.relid = w.oid
) AS looked

-- name: INV-024
-- A token is spent once: the primary key of seen_jti is (expires_day, jti_hash).
SELECT count(*) AS seen, coalesce(array_agg('seen_jti is not unique on (expires_day, jti_hash)'::text) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary
        AND pg_get_indexdef(i.indexrelid) LIKE '%(expires_day, jti_hash)')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.seen_jti')

-- name: INV-DB-IMM-001
-- Append-only by grants: nobody but the owner has any right on attempts, or on a partition of them, other than to read.
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ': ' || e.privilege || ' on ' || p.oid::regclass) FILTER (WHERE
    has_table_privilege(r.oid, p.oid, e.privilege)
    OR (e.privilege IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(r.oid, p.oid, e.privilege))), '{}'::text[]) AS violations
FROM part AS p CROSS JOIN runtime_role AS r
CROSS JOIN unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) AS e (privilege)
WHERE p.parent = 'symphony.payment_outbox_attempts'

-- name: I-OUTBOX-01
-- No runtime role can switch the attempts' triggers off: none owns them, may become who does, or may set the replication role.
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || CASE WHEN pg_has_role(r.oid, c.relowner, 'MEMBER') THEN ' may become the owner of '
    ELSE ' may set session_replication_role over ' END || p.oid::regclass)
    FILTER (WHERE pg_has_role(r.oid, c.relowner, 'MEMBER') OR has_parameter_privilege(r.oid, 'session_replication_role', 'SET')), '{}'::text[]) AS violations
FROM part AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.oid CROSS JOIN pg_catalog.pg_roles AS r
WHERE p.parent = 'symphony.payment_outbox_attempts' AND r.rolname !~ '^pg_' AND r.oid NOT IN (SELECT o.oid FROM owner AS o)
    AND (NOT r.rolsuper OR r.oid IN (SELECT t.oid FROM our_role AS t))

-- name: I-OUTBOX-02
-- At most one terminal per outbox_id: the primary key of a table that no partition divides (D6).
SELECT count(*) AS seen, coalesce(array_agg('payment_terminals'::text) FILTER (WHERE NOT (c.relkind = 'r' AND EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND pg_get_indexdef(i.indexrelid) LIKE '%(outbox_id)'))), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.payment_terminals')
