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
CROSS JOIN (VALUES ('symphony_ingest'), ('symphony_executor'), ('symphony_shipper'), ('symphony_reader'), (session_user)) AS r(role)
CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p(privilege)
WHERE c.relkind IN ('r', 'p')

-- name: INV-014
SELECT count(*) > 1 AND bool_and(
    EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled = 'O' AND t.tgtype & 32 = 32
        AND t.tgfoid = 'symphony.deny_mutation'::regproc)  -- TRUNCATE, which passes a parent's trigger by
    AND EXISTS (SELECT 1 FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgenabled = 'O' AND t.tgtype & 25 = 25
        AND t.tgfoid = 'symphony.deny_mutation'::regproc))  -- each row, UPDATE and DELETE
FROM (SELECT 'symphony.payment_outbox_attempts'::regclass AS oid
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = 'symphony.payment_outbox_attempts'::regclass) AS c

-- name: INV-022
SELECT a.attnotnull FROM pg_catalog.pg_attribute AS a
WHERE a.attrelid = 'symphony.payment_outbox_pending'::regclass AND a.attname = 'parent_attestation_id'

-- name: I-OUTBOX-02
SELECT count(*) = 1 FROM pg_catalog.pg_index AS i
WHERE i.indrelid = 'symphony.payment_terminals'::regclass AND i.indisprimary AND i.indisunique AND i.indnatts = 1
