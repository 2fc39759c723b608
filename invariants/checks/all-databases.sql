-- Checks that hold in every database of ours. Each answers (seen, violations): nothing seen is not a pass.

-- name: INV-005
-- Deny by default: PUBLIC may not connect, use our schemas, or touch any table or function of ours.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE granted), '{}'::text[]) AS violations FROM (
    SELECT 'schema ' || n.nspname AS what, has_schema_privilege('public', n.oid, 'USAGE, CREATE') AS granted
    FROM pg_catalog.pg_namespace AS n WHERE n.nspname IN ('public', 'symphony', 'ledger')
    UNION ALL
    SELECT 'table ' || c.oid::regclass, has_table_privilege('public', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND c.relkind IN ('r', 'p', 'v')
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure, has_function_privilege('public', p.oid, 'EXECUTE')
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND p.prorettype <> 'trigger'::regtype
    UNION ALL
    SELECT 'database ' || d.datname, has_database_privilege('public', d.oid, 'CONNECT, CREATE, TEMP')
    FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
) AS looked

-- name: INV-006
-- No runtime DDL: no runtime role may create in any schema, in the database, or temporary tables.
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ' may create in ' || n.nspname) FILTER (
    WHERE has_schema_privilege(r.oid, n.oid, 'CREATE') OR has_database_privilege(r.oid, current_database(), 'CREATE, TEMP')), '{}'::text[]) AS violations
FROM pg_catalog.pg_roles AS r CROSS JOIN pg_catalog.pg_namespace AS n
WHERE r.rolname ~ '^symphony_(ingest|executor|shipper|reader|control|control_reader|ledger|ledger_reader)$' AND n.nspname IN ('public', 'symphony', 'ledger')

-- name: INV-007
-- Runtime roles are NOLOGIN templates that own nothing; logins inherit nothing and assume them.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT r.rolname || ' may log in' AS what, r.rolcanlogin OR r.rolsuper AS bad FROM pg_catalog.pg_roles AS r WHERE r.rolname ~ '^symphony_(ingest|executor|shipper|reader|control|control_reader|ledger|ledger_reader)$'
    UNION ALL
    SELECT r.rolname || ' owns ' || c.oid::regclass, r.rolname ~ '^symphony_(ingest|executor|shipper|reader|control|control_reader|ledger|ledger_reader)$' FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner
    WHERE n.nspname IN ('symphony', 'ledger')
    UNION ALL
    SELECT g.rolname || ' inherits ' || r.rolname, m.inherit_option FROM pg_catalog.pg_auth_members AS m
    JOIN pg_catalog.pg_roles AS r ON r.oid = m.roleid JOIN pg_catalog.pg_roles AS g ON g.oid = m.member
    WHERE r.rolname ~ '^symphony_(ingest|executor|shipper|reader|control|control_reader|ledger|ledger_reader)$' AND g.rolname ~ '^(sc|cp|ld)_(writer|reader|shipper)$'
) AS looked

-- name: INV-008
-- SECURITY DEFINER functions pin their search_path, with pg_temp last.
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE NOT coalesce(
    'search_path=pg_catalog, ' || n.nspname || ', pg_temp' = ANY (p.proconfig), false)), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname IN ('symphony', 'ledger') AND p.prosecdef

-- name: INV-009
-- SECURITY DEFINER functions hold no dynamic SQL.
SELECT count(*) AS seen, coalesce(array_agg(p.oid::regprocedure::text) FILTER (WHERE p.prosrc ~* '\mexecute\M'), '{}'::text[]) AS violations
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname IN ('symphony', 'ledger') AND p.prosecdef

-- name: INV-010
-- Runtime roles have no direct DML: writes happen through DB API functions.
SELECT count(*) AS seen, coalesce(array_agg(r.rolname || ': ' || p.privilege || ' on ' || c.oid::regclass) FILTER (
    WHERE has_table_privilege(r.oid, c.oid, p.privilege)), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN pg_catalog.pg_roles AS r CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p(privilege)
WHERE n.nspname IN ('symphony', 'ledger') AND c.relkind IN ('r', 'p')
    AND (r.rolname ~ '^symphony_(ingest|executor|shipper|reader|control|control_reader|ledger|ledger_reader)$' OR r.rolname ~ '^(sc|cp|ld)_(writer|reader|shipper)$')
