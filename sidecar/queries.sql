-- The sidecar's compiled-in invariants: each answers one boolean, asked as the writer's login.

-- name: INV-006
SELECT bool_and(NOT has_schema_privilege(r.role, n.oid, 'CREATE')) AND count(*) = 10
FROM pg_catalog.pg_namespace AS n
CROSS JOIN (VALUES ('symphony_ingest'), ('symphony_executor'), ('symphony_shipper'), ('symphony_reader'), (session_user)) AS r(role)
WHERE n.nspname IN ('public', 'symphony')

-- name: INV-010
SELECT bool_and(NOT has_table_privilege(r.role, c.oid, p.privilege)) AND count(*) > 0
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'symphony'
CROSS JOIN (VALUES ('symphony_ingest'), ('symphony_executor'), ('symphony_shipper'), ('symphony_reader')) AS r(role)
CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p(privilege)
WHERE c.relkind IN ('r', 'p')

-- name: INV-014
SELECT count(*) = 2 FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = 'symphony.payment_outbox_attempts'::regclass AND t.tgenabled = 'O'
    AND t.tgname IN ('trg_deny_outbox_attempts_mutation', 'trg_attempts_not_truncated')

-- name: INV-022
SELECT a.attnotnull FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = 'symphony.payment_outbox_pending'::regclass AND a.attname = 'parent_attestation_id'

-- name: I-OUTBOX-02
SELECT count(*) = 1 FROM pg_catalog.pg_index AS i
WHERE i.indrelid = 'symphony.payment_terminals'::regclass AND i.indisprimary AND i.indisunique AND i.indnatts = 1
