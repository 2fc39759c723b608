-- Checks that hold in every database of ours. Each answers (seen, violations): nothing seen is not a pass.

-- name: INV-005
-- Deny by default: PUBLIC has nothing on the database, on our schemas, or on anything in them, now or by default later.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE granted), '{}'::text[]) AS violations FROM (
    SELECT 'PUBLIC: schema ' || n.nspname AS what, has_schema_privilege('public', n.oid, 'USAGE, CREATE') AS granted
    FROM ours AS n
    UNION ALL
    SELECT 'PUBLIC: table ' || r.name, has_table_privilege('public', r.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        OR has_any_column_privilege('public', r.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
    FROM relation AS r WHERE r.relkind <> 'S'
    UNION ALL
    SELECT 'PUBLIC: sequence ' || r.name, has_sequence_privilege('public', r.oid, 'USAGE, SELECT, UPDATE') FROM relation AS r WHERE r.relkind = 'S'
    UNION ALL
    SELECT 'PUBLIC: function ' || p.name, has_function_privilege('public', p.oid, 'EXECUTE')
    FROM routine AS p WHERE p.prorettype <> 'trigger'::regtype
    UNION ALL
    SELECT 'PUBLIC: database ' || current_database(), has_database_privilege('public', current_database(), 'CONNECT, CREATE, TEMP')
    UNION ALL
    SELECT 'PUBLIC: by default on objects of ' || d.defaclrole::regrole, a.grantee = 0
    FROM pg_catalog.pg_default_acl AS d CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
) AS looked

-- name: INV-006
-- No runtime DDL: nobody but the owner may create in a schema, in the database, or temporary tables.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE granted), '{}'::text[]) AS violations FROM (
    SELECT r.rolname || ' may create in schema ' || n.nspname AS what, has_schema_privilege(r.oid, n.oid, 'CREATE') AS granted
    FROM runtime_role AS r CROSS JOIN ours AS n
    UNION ALL
    SELECT r.rolname || ' may create in the database, or temporary tables', has_database_privilege(r.oid, current_database(), 'CREATE, TEMP')
    FROM runtime_role AS r
    UNION ALL
    SELECT 'PUBLIC may create in schema ' || n.nspname, has_schema_privilege('public', n.oid, 'CREATE') FROM ours AS n
    UNION ALL
    SELECT 'PUBLIC may create in the database, or temporary tables', has_database_privilege('public', current_database(), 'CREATE, TEMP')
) AS looked

-- name: INV-007
-- Rights are held by NOLOGIN roles that own nothing; logins hold none, inherit none, may nothing else, and only assume them.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE bad), '{}'::text[]) AS violations FROM (
    SELECT r.rolname || ' may log in and holds ' || h.what AS what, r.rolcanlogin AS bad
    FROM held AS h JOIN our_role AS r ON r.oid = h.grantee
    UNION ALL
    SELECT r.rolname || ' may more than a runtime role needs', r.may_too_much FROM our_role AS r
    UNION ALL
    SELECT t.rolname || ' belongs to ' || g.rolname || CASE WHEN m.inherit_option THEN ' and inherits it' ELSE '' END,
        m.inherit_option OR m.admin_option OR g.rolcanlogin OR g.oid NOT IN (SELECT x.oid FROM template AS x)
    FROM pg_catalog.pg_auth_members AS m JOIN our_role AS t ON t.oid = m.member JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
    UNION ALL
    SELECT m.member::regrole || ' may become the owner', true FROM pg_catalog.pg_auth_members AS m
    WHERE m.roleid IN (SELECT o.oid FROM owner AS o) AND m.member <> m.roleid AND m.member NOT IN (SELECT t.oid FROM our_role AS t)
    UNION ALL
    SELECT r.relowner::regrole || ' owns ' || r.name, r.relowner NOT IN (SELECT o.oid FROM owner AS o) FROM relation AS r
    UNION ALL
    SELECT p.proowner::regrole || ' owns ' || p.name, p.proowner NOT IN (SELECT o.oid FROM owner AS o) FROM routine AS p
    UNION ALL
    SELECT n.nspowner::regrole || ' owns schema ' || n.nspname, n.nspowner NOT IN (SELECT o.oid FROM owner AS o)
    FROM pg_catalog.pg_namespace AS n JOIN ours USING (oid) WHERE n.nspname <> 'public'
) AS looked

-- name: INV-008
-- SECURITY DEFINER functions pin their search_path, with pg_temp last. Seen is every schema and every routine in it.
SELECT count(*) AS seen, coalesce(array_agg(looked.what) FILTER (WHERE looked.bad), '{}'::text[]) AS violations FROM (
    SELECT p.name || ' needs SET search_path = pg_catalog, ' || p.nspname || ', pg_temp' AS what, p.prosecdef
        AND NOT coalesce('search_path=pg_catalog, ' || p.nspname || ', pg_temp' = ANY (p.proconfig), false) AS bad
    FROM routine AS p
    UNION ALL
    SELECT 'schema ' || n.nspname, false FROM ours AS n
) AS looked

-- name: INV-009
-- SECURITY DEFINER functions hold no dynamic SQL, call none that does, and are in SQL or PL/pgSQL. Seen as for INV-008.
SELECT count(*) AS seen, coalesce(array_agg(looked.name) FILTER (WHERE looked.bad), '{}'::text[]) AS violations FROM (
    SELECT p.name, p.prosecdef AND (
        p.source ~* '\m(execute|query_to_xml\w*|cursor_to_xml\w*|dblink\w*)\M' OR p.lanname NOT IN ('sql', 'plpgsql') OR EXISTS (
            SELECT 1 FROM routine AS h WHERE NOT h.prosecdef AND h.source ~* '\mexecute\M' AND p.source ~* ('\m' || h.proname || '\M')
        )) AS bad
    FROM routine AS p
    UNION ALL
    SELECT n.nspname, false FROM ours AS n
) AS looked

-- name: INV-010
-- Runtime roles have no direct DML, on a table, a column, or a sequence, or through a view: writes happen through functions.
SELECT count(*) AS seen, coalesce(array_agg(what) FILTER (WHERE granted), '{}'::text[]) AS violations FROM (
    SELECT r.rolname || ': ' || p.privilege || ' on ' || c.name AS what, has_table_privilege(r.oid, c.oid, p.privilege)
        OR (p.privilege IN ('INSERT', 'UPDATE') AND has_any_column_privilege(r.oid, c.oid, p.privilege)) AS granted
    FROM relation AS c CROSS JOIN runtime_role AS r CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
    WHERE c.relkind <> 'S'
    UNION ALL
    SELECT r.rolname || ': UPDATE on ' || c.name, has_sequence_privilege(r.oid, c.oid, 'USAGE, UPDATE')
    FROM relation AS c CROSS JOIN runtime_role AS r WHERE c.relkind = 'S'
) AS looked

-- name: INV-029
-- Every table refuses UPDATE, DELETE and TRUNCATE, partitions included, but for what is listed here: a new table says which it is.
SELECT count(*) AS seen, coalesce(array_agg(looked.what || ' lets ' || looked.change || ' through') FILTER (WHERE NOT looked.refused
    AND position(looked.change IN coalesce(m.may, '')) = 0), '{}'::text[]) AS violations
FROM (
    SELECT p.oid::regclass::text AS what, p.parent, e.change, coalesce(
        CASE e.change WHEN 'UPDATE' THEN g.no_update WHEN 'DELETE' THEN g.no_delete ELSE g.no_truncate END, false) AS refused
    FROM part AS p LEFT JOIN guard AS g ON g.relid = p.oid CROSS JOIN (VALUES ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS e (change)
) AS looked
LEFT JOIN (VALUES
    ('symphony_migrations.applied', 'UPDATE DELETE TRUNCATE'),  -- the owner's; INV-001 compares it with the files
    ('symphony.policy_versions', 'UPDATE'), ('symphony.evidence_streams', 'UPDATE'), ('symphony.log_head', 'UPDATE'),
    ('symphony.fleet_status', 'UPDATE DELETE TRUNCATE'), ('symphony.opa_status', 'UPDATE DELETE TRUNCATE'),
    ('symphony.payment_outbox_pending', 'DELETE'), ('symphony.outbox_leases', 'UPDATE DELETE TRUNCATE'),
    ('symphony.parked', 'UPDATE DELETE TRUNCATE'), ('symphony.payloads', 'UPDATE DELETE TRUNCATE'),
    ('symphony.seen_jti', 'UPDATE DELETE TRUNCATE'), ('symphony.usage_daily', 'UPDATE DELETE TRUNCATE'),
    ('symphony.writer_epochs', 'UPDATE DELETE TRUNCATE'), ('symphony.participant_outbox_sequences', 'UPDATE'),
    ('ledger.permit_marks', 'UPDATE')
) AS m (name, may) ON m.name = looked.parent
