-- Checks of the control plane's database. Each answers (seen, violations): nothing seen is not a pass.

-- name: INV-016
-- policy_versions exists and supports the boot query is_active = true.
SELECT count(*) AS seen, coalesce(array_agg('is_active is not boolean'::text) FILTER (WHERE a.atttypid <> 'boolean'::regtype), '{}'::text[]) AS violations
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass('symphony.policy_versions') AND a.attname = 'is_active'

-- name: INV-017
-- A release without a checksum cannot be recorded.
SELECT count(*) AS seen, coalesce(array_agg('checksum may be NULL'::text) FILTER (WHERE NOT a.attnotnull), '{}'::text[]) AS violations
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass('symphony.policy_versions') AND a.attname = 'checksum'

-- name: INV-018
-- At most one ACTIVE release per environment, by a unique predicate index.
SELECT count(*) AS seen, coalesce(array_agg('no unique index on (environment) where is_active'::text) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
        AND pg_get_indexdef(i.indexrelid) ~ '\(environment\) WHERE \(?is_active')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.policy_versions')
