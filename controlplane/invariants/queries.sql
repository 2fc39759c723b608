-- The control plane's compiled-in invariants. Each answers (seen, violations), asked of the catalogue as its own login.
-- A superuser is INV-007's to name. INV-018-rows and newest_root read tables, under the role.

-- name: INV-005
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT 'PUBLIC has a right on schema ' || n.nspname AS what, has_schema_privilege('public', n.oid, 'USAGE, CREATE') AS bad
    FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('public', 'symphony')
    UNION ALL
    SELECT 'PUBLIC has a right on ' || c.oid::regclass, has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
    FROM pg_catalog.pg_class AS c WHERE c.relnamespace = 'symphony'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'PUBLIC may call ' || p.oid::regprocedure, has_function_privilege('public', p.oid, 'EXECUTE')
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace AND p.prorettype <> 'trigger'::regtype
    UNION ALL
    SELECT 'PUBLIC has a right on the database', has_database_privilege('public', current_database(), 'CONNECT, CREATE, TEMP')
) AS looked

-- name: INV-006
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ' may create in ' || n.nspname || ' or a temporary table') FILTER (WHERE
    has_schema_privilege(r.oid, n.oid, 'CREATE') OR has_database_privilege(r.oid, current_database(), 'CREATE, TEMP')), '{}'::text[]) AS violations
FROM pg_catalog.pg_namespace AS n CROSS JOIN pg_catalog.pg_roles AS r
WHERE n.nspname IN ('public', 'symphony') AND NOT r.rolsuper AND (r.rolname ~ '^symphony_' OR r.rolname = session_user)

-- name: INV-007
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT r.rolname || ' may more than a runtime role needs' AS what,
        r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls OR r.rolcanlogin <> (r.rolname = session_user) AS bad
    FROM pg_catalog.pg_roles AS r WHERE r.rolname = session_user OR r.oid IN (SELECT m.roleid FROM pg_catalog.pg_auth_members AS m
        JOIN pg_catalog.pg_roles AS me ON me.oid = m.member WHERE me.rolname = session_user)
    UNION ALL
    SELECT m.member::regrole || ' inherits or administers ' || g.rolname, m.inherit_option OR m.admin_option OR g.rolname !~ '^symphony_'
    FROM pg_catalog.pg_auth_members AS m JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
    WHERE m.member = (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = session_user)
) AS looked

-- name: INV-008
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE NOT coalesce(
    'search_path=pg_catalog, symphony, pg_temp' = ANY (p.proconfig), false)), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace AND p.prosecdef

-- name: INV-009
-- The word anywhere, in a comment too: too strict shows at once in the tests, too lax would not show.
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE p.prosrc ~* '\mexecute\M'), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = 'symphony'::regnamespace AND p.prosecdef

-- name: INV-010
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ' may ' || p.privilege || ' on ' || c.oid::regclass) FILTER (WHERE
    has_table_privilege(r.oid, c.oid, p.privilege)
    OR (p.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(r.oid, c.oid, p.privilege))), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c CROSS JOIN pg_catalog.pg_roles AS r
CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
WHERE c.relnamespace = 'symphony'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    AND NOT r.rolsuper AND (r.rolname ~ '^symphony_' OR r.rolname = session_user)

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
    AND c.relname <> 'fleet_status'

-- name: active_rows
SELECT v.environment || ' has ' || count(*) || ' active releases'
FROM symphony.policy_versions AS v WHERE v.is_active GROUP BY v.environment HAVING count(*) > 1

-- name: newest_root
SELECT m.content FROM symphony.tuf_metadata AS m WHERE m.role = 'root' ORDER BY m.version DESC LIMIT 1
