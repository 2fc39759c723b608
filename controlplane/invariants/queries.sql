-- What the control plane asks beside contracts/queries.sql. active_rows and newest_root read tables, under the role.

-- name: INV-016
SELECT count(*) AS seen, coalesce(array_agg('policy_versions.' || w.name || ' is not ' || w.type)
    FILTER (WHERE format_type(a.atttypid, a.atttypmod) IS DISTINCT FROM w.type), '{}'::text[]) AS violations
FROM (VALUES ('environment', 'text'), ('number', 'bigint'), ('checksum', 'text'), ('is_active', 'boolean')) AS w (name, type)
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = to_regclass('symphony.policy_versions') AND a.attname = w.name AND NOT a.attisdropped

-- name: INV-017
SELECT count(*) AS seen, coalesce(array_agg('policy_versions.checksum may be NULL'::text) FILTER (WHERE NOT a.attnotnull), '{}'::text[]) AS violations
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass('symphony.policy_versions') AND a.attname = 'checksum' AND NOT a.attisdropped

-- name: INV-018
SELECT count(*) AS seen, coalesce(array_agg('no unique index on policy_versions (environment) where is_active'::text) FILTER (WHERE NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indisready
        AND i.indnkeyatts = 1 AND pg_get_indexdef(i.indexrelid, 1, true) = 'environment'
        AND pg_get_expr(i.indpred, i.indrelid) = 'is_active')), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('symphony.policy_versions')

-- name: INV-029
-- Heads, streams and a release's status move forward, each by its own trigger or function; the fleet view is the last word.
WITH guard (oid, no_update, no_delete, no_truncate) AS (
    SELECT t.tgrelid, bool_or(t.tgtype & 17 = 17), bool_or(t.tgtype & 9 = 9), bool_or(t.tgtype & 33 = 32)
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('O', 'A') AND t.tgtype & 2 = 2 AND t.tgqual IS NULL AND t.tgattr::text = '' AND f.prosrc ~ '^\s*BEGIN\s+RAISE EXCEPTION '
        AND f.prosrc !~* '\mexception\s+when\M'
    GROUP BY 1
)
SELECT count(*) AS seen, coalesce(array_agg(c.oid::regclass || ' lets changes through') FILTER (WHERE
    (g.no_delete AND g.no_truncate AND (g.no_update OR c.relname IN ('policy_versions', 'evidence_streams', 'log_head'))) IS NOT TRUE), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c LEFT JOIN guard AS g ON g.oid = c.oid
WHERE c.relnamespace = 'symphony'::regnamespace AND c.relkind IN ('r', 'p')
    AND c.relname NOT IN ('fleet_status', 'opa_status')

-- name: active_rows
SELECT v.environment || ' has ' || count(*) || ' active releases'
FROM symphony.policy_versions AS v WHERE v.is_active GROUP BY v.environment HAVING count(*) > 1

-- name: newest_root
SELECT m.content FROM symphony.tuf_metadata AS m WHERE m.role = 'root' ORDER BY m.version DESC LIMIT 1
