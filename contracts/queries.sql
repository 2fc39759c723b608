-- The invariants that every side asks of its own database. Each answers (seen, violations), asked of the catalogue as the
-- service's own login; `symphony.schema` is a setting of the transaction that names the side's schema. Looked at are our NOLOGIN
-- roles and the login itself; a superuser is INV-007's to name.

-- name: INV-005
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT 'PUBLIC has a right on schema ' || n.nspname AS what, has_schema_privilege('public', n.oid, 'USAGE, CREATE') AS bad
    FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('public', current_setting('symphony.schema'))
    UNION ALL
    SELECT 'PUBLIC has a right on ' || c.oid::regclass, has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
    FROM pg_catalog.pg_class AS c WHERE c.relnamespace = to_regnamespace(current_setting('symphony.schema')) AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'PUBLIC may call ' || p.oid::regprocedure, has_function_privilege('public', p.oid, 'EXECUTE')
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = to_regnamespace(current_setting('symphony.schema')) AND p.prorettype <> 'trigger'::regtype
    UNION ALL
    SELECT 'PUBLIC has a right on the database', has_database_privilege('public', current_database(), 'CONNECT, CREATE, TEMP')
) AS looked

-- name: INV-006
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ' may create in ' || n.nspname || ' or a temporary table') FILTER (WHERE
    has_schema_privilege(r.oid, n.oid, 'CREATE') OR has_database_privilege(r.oid, current_database(), 'CREATE, TEMP')), '{}'::text[]) AS violations
FROM pg_catalog.pg_namespace AS n CROSS JOIN pg_catalog.pg_roles AS r
WHERE n.nspname IN ('public', current_setting('symphony.schema')) AND NOT r.rolsuper AND (r.rolname ~ '^symphony_' OR r.rolname = session_user)

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
    'search_path=pg_catalog, ' || current_setting('symphony.schema') || ', pg_temp' = ANY (p.proconfig), false)), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = to_regnamespace(current_setting('symphony.schema')) AND p.prosecdef

-- name: INV-009
-- The word anywhere, in a comment too: too strict shows at once in the tests, too lax would not show.
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE p.prosrc ~* '\mexecute\M'), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = to_regnamespace(current_setting('symphony.schema')) AND p.prosecdef

-- name: INV-010
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ' may ' || p.privilege || ' on ' || c.oid::regclass) FILTER (WHERE
    has_table_privilege(r.oid, c.oid, p.privilege)
    OR (p.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(r.oid, c.oid, p.privilege))), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c CROSS JOIN pg_catalog.pg_roles AS r
CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
WHERE c.relnamespace = to_regnamespace(current_setting('symphony.schema')) AND c.relkind IN ('r', 'p', 'v')
    AND NOT r.rolsuper AND (r.rolname ~ '^symphony_' OR r.rolname = session_user)
