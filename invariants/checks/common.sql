-- What several checks ask about. The runner puts `common` before each check as its WITH (the server evaluates only what a
-- check names), and asks `sentinel` first: a database without our migrations is never a pass. In a repository that is not
-- ours it asks `anything`: an empty database is none either.

-- name: sentinel
-- Whether this is a database of ours at all.
SELECT to_regclass('symphony_migrations.applied') IS NOT NULL

-- name: anything
-- Whether there is any table here.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)

-- name: common
-- Schemas that are not the server's own, and what lies in them that no extension brought.
ours (oid, nspname) AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
),
relation (oid, relkind, relowner, relacl, name) AS (
    SELECT c.oid, c.relkind, c.relowner, c.relacl, c.oid::regclass::text
    FROM pg_catalog.pg_class AS c JOIN ours AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
),
-- `source` is the body as it stands, `plain` without comments; both on one line.
routine (oid, nspname, proname, proowner, proacl, prosecdef, proconfig, prorettype, lanname, name, source, plain) AS (
    SELECT p.oid, n.nspname, p.proname, p.proowner, p.proacl, p.prosecdef, p.proconfig, p.prorettype, l.lanname,
        p.oid::regprocedure::text, regexp_replace(p.prosrc, '\s+', ' ', 'g'),
        regexp_replace(regexp_replace(p.prosrc, '--[^\n]*|/\*.*?\*/', '', 'g'), '\s+', ' ', 'g')
    FROM pg_catalog.pg_proc AS p JOIN ours AS n ON n.oid = p.pronamespace JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
),
owner (oid) AS (
    SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
),
-- Whoever is neither a superuser, nor the server's own, nor this database's owner: by what it is, not by its name.
runtime_role (oid, rolname) AS (
    SELECT r.oid, r.rolname FROM pg_catalog.pg_roles AS r
    WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND r.oid NOT IN (SELECT o.oid FROM owner AS o)
),
-- Rights that were given to another than an object's owner, and everybody who holds one or may assume a role that does.
held (grantee, what) AS (
    SELECT a.grantee, a.privilege_type || ' on ' || r.name FROM relation AS r CROSS JOIN LATERAL aclexplode(r.relacl) AS a
    WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT a.grantee, a.privilege_type || ' on ' || r.name || '.' || c.attname
    FROM relation AS r JOIN pg_catalog.pg_attribute AS c ON c.attrelid = r.oid CROSS JOIN LATERAL aclexplode(c.attacl) AS a
    WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT a.grantee, a.privilege_type || ' on ' || p.name FROM routine AS p CROSS JOIN LATERAL aclexplode(p.proacl) AS a
    WHERE a.grantee <> p.proowner
    UNION ALL
    SELECT a.grantee, a.privilege_type || ' on schema ' || n.nspname
    FROM pg_catalog.pg_namespace AS n JOIN ours USING (oid) CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
    WHERE n.nspname <> 'public' AND a.grantee <> n.nspowner
),
template (oid) AS (
    SELECT DISTINCT h.grantee FROM held AS h WHERE h.grantee <> 0 AND h.grantee NOT IN (SELECT o.oid FROM owner AS o)
),
our_role (oid, rolname, rolcanlogin, rolinherit, may_too_much) AS (
    SELECT r.oid, r.rolname, r.rolcanlogin, r.rolinherit,
        r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
    FROM pg_catalog.pg_roles AS r
    WHERE r.oid NOT IN (SELECT o.oid FROM owner AS o) AND (r.oid IN (SELECT t.oid FROM template AS t) OR r.oid IN (
        SELECT m.member FROM pg_catalog.pg_auth_members AS m WHERE m.roleid IN (SELECT t.oid FROM template AS t)))
),
-- Triggers that always refuse: enabled, BEFORE, on every column, without WHEN, calling a function that only raises.
guard (relid, no_update, no_delete, no_truncate) AS (
    SELECT t.tgrelid, bool_or(t.tgtype & 17 = 17), bool_or(t.tgtype & 9 = 9), bool_or(t.tgtype & 33 = 32)
    FROM pg_catalog.pg_trigger AS t JOIN routine AS f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('O', 'A') AND t.tgtype & 2 = 2 AND t.tgqual IS NULL AND t.tgattr::text = '' AND f.lanname = 'plpgsql'
        AND f.source ~ '^ ?BEGIN RAISE EXCEPTION ''[^'']*''[A-Z_, ]* USING ERRCODE = ''42501''; END;? ?$'
    GROUP BY t.tgrelid
),
-- A table with its partitions, under the table's name.
part (oid, parent) AS (
    SELECT r.oid, coalesce(i.inhparent::regclass::text, r.name)
    FROM relation AS r LEFT JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = r.oid WHERE r.relkind IN ('r', 'p')
)
