-- What the sidecar asks beside contracts/queries.sql. Each answers (seen, violations), as the process's own login.

-- name: INV-011
SELECT count(*) AS seen, coalesce(array_agg(w.name || ' is not a unique index on ' || w.columns) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indexrelid = to_regclass('symphony.' || w.name) AND i.indisunique AND i.indisvalid
        AND i.indpred IS NULL AND pg_get_indexdef(i.indexrelid) LIKE '%(' || w.columns || ')')), '{}'::text[]) AS violations
FROM (VALUES ('ux_pending_instruction_key', 'instruction_id, idempotency_key'),
    ('ux_instructions_key', 'participant_id, idempotency_key, tx_index')) AS w (name, columns)

-- name: INV-013
-- A comment is no code: it is cut away, so that words in it prove nothing.
SELECT count(*) AS seen, coalesce(array_agg('complete_outbox_attempts does not ask the lease'::text) FILTER (WHERE NOT (
    s.code LIKE '%lease_token = %' AND s.code LIKE '%claimed_by = %' AND s.code LIKE '%expires_at > %')), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p CROSS JOIN LATERAL (SELECT regexp_replace(p.prosrc, '--[^\n]*|/\*([^*]|\*+[^*/])*\*+/', '', 'g') AS code) AS s
WHERE p.pronamespace = 'symphony'::regnamespace AND p.proname = 'complete_outbox_attempts'

-- name: INV-014
WITH append_only (oid) AS (
    SELECT t.tgrelid FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('O', 'A') AND t.tgtype & 2 = 2 AND t.tgqual IS NULL AND t.tgattr::text = '' AND f.prosrc ~ '^\s*BEGIN\s+RAISE EXCEPTION '
        AND f.prosrc !~* '\mexception\s+when\M'
    GROUP BY 1 HAVING bool_or(t.tgtype & 17 = 17) AND bool_or(t.tgtype & 9 = 9) AND bool_or(t.tgtype & 33 = 32)
)
SELECT count(*) AS seen, coalesce(array_agg(c.oid::regclass || ' lets changes through') FILTER (WHERE a.oid IS NULL), '{}'::text[]) AS violations
FROM (SELECT to_regclass('symphony.payment_outbox_attempts')::oid AS oid
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = to_regclass('symphony.payment_outbox_attempts')) AS c
LEFT JOIN append_only AS a USING (oid) WHERE c.oid IS NOT NULL

-- name: INV-021
WITH append_only (oid) AS (
    SELECT t.tgrelid FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('O', 'A') AND t.tgtype & 2 = 2 AND t.tgqual IS NULL AND t.tgattr::text = '' AND f.prosrc ~ '^\s*BEGIN\s+RAISE EXCEPTION '
        AND f.prosrc !~* '\mexception\s+when\M'
    GROUP BY 1 HAVING bool_or(t.tgtype & 17 = 17) AND bool_or(t.tgtype & 9 = 9) AND bool_or(t.tgtype & 33 = 32)
)
SELECT count(*) AS seen, coalesce(array_agg(coalesce(c.oid::regclass::text, w.name) || ' lets changes through')
    FILTER (WHERE a.oid IS NULL), '{}'::text[]) AS violations
FROM (VALUES ('symphony.ingress_attestations'), ('symphony.evidence_events')) AS w (name)
CROSS JOIN LATERAL (SELECT to_regclass(w.name)::oid AS oid
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = to_regclass(w.name)) AS c
LEFT JOIN append_only AS a USING (oid)

-- name: INV-022
SELECT count(*) AS seen, coalesce(array_agg('payment_outbox_pending.parent_attestation_id may be NULL'::text)
    FILTER (WHERE NOT a.attnotnull), '{}'::text[]) AS violations
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass('symphony.payment_outbox_pending') AND a.attname = 'parent_attestation_id'

-- name: INV-023
SELECT count(*) AS seen, coalesce(array_agg('symphony.revocations is lost on a crash, changeable, or not asked'::text) FILTER (WHERE
    c.relpersistence <> 'p' OR NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace
        AND p.proname = 'judge_batch'
        AND regexp_replace(p.prosrc, '--[^\n]*|/\*([^*]|\*+[^*/])*\*+/', '', 'g') LIKE '%symphony.revocations%')
    OR (SELECT count(*) FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A') AND t.tgtype & 2 = 2
        AND t.tgqual IS NULL AND t.tgfoid = to_regproc('symphony.deny_mutation')) < 2), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.revocations')

-- name: INV-024
SELECT count(*) AS seen, coalesce(array_agg('seen_jti is not unique on (expires_day, jti_hash)'::text) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary
        AND pg_get_indexdef(i.indexrelid) LIKE '%(expires_day, jti_hash)')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.seen_jti')

-- name: I-OUTBOX-01
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ' may switch the triggers of the attempts off') FILTER (WHERE
    pg_has_role(r.oid, c.relowner, 'MEMBER') OR has_parameter_privilege(r.oid, 'session_replication_role', 'SET')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c CROSS JOIN pg_catalog.pg_roles AS r
WHERE c.oid = to_regclass('symphony.payment_outbox_attempts') AND NOT r.rolsuper AND (r.rolname ~ '^symphony_' OR r.rolname = session_user)

-- name: I-OUTBOX-02
SELECT count(*) AS seen, coalesce(array_agg('payment_terminals is not unique on (outbox_id)'::text) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary
        AND pg_get_indexdef(i.indexrelid) LIKE '%(outbox_id)')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.payment_terminals') AND c.relkind = 'r'
