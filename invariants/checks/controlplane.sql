-- Checks of the control plane's database. Each answers (seen, violations): nothing seen is not a pass.

-- name: INV-016
-- policy_versions has what the boot query asks (WHERE is_active), under its name and type.
SELECT count(*) AS seen, coalesce(array_agg('policy_versions.' || w.name || ' is not ' || w.type)
    FILTER (WHERE format_type(a.atttypid, a.atttypmod) IS DISTINCT FROM w.type), '{}'::text[]) AS violations
FROM (VALUES ('environment', 'text'), ('number', 'bigint'), ('checksum', 'text'), ('is_active', 'boolean')) AS w (name, type)
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = to_regclass('symphony.policy_versions') AND a.attname = w.name AND NOT a.attisdropped

-- name: INV-017
-- A release without a checksum cannot be recorded.
SELECT count(*) AS seen, coalesce(array_agg('policy_versions.checksum may be NULL'::text) FILTER (WHERE NOT a.attnotnull), '{}'::text[]) AS violations
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass('symphony.policy_versions') AND a.attname = 'checksum' AND NOT a.attisdropped

-- name: INV-018
-- At most one ACTIVE release per environment: by a unique index over exactly the active ones, and in the rows.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT 'no unique index on (environment) where is_active' AS what, NOT EXISTS (
        SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indisready
            AND i.indnkeyatts = 1 AND pg_get_indexdef(i.indexrelid, 1, true) = 'environment'
            AND pg_get_expr(i.indpred, i.indrelid) = 'is_active') AS bad
    FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.policy_versions')
    UNION ALL
    SELECT v.environment || ' has ' || count(*) || ' active releases', count(*) > 1
    FROM symphony.policy_versions AS v WHERE v.is_active GROUP BY v.environment
) AS looked
