-- Every privilege in a database, of everybody but its owner and superusers, as (grantee, what). Partitions, sequences, views,
-- columns, defaults and parameters included; a privilege that PUBLIC has by default counts as granted.
WITH owner AS (
    SELECT d.datdba AS oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
), ours AS (
    SELECT n.* FROM pg_catalog.pg_namespace AS n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), acl AS (
    SELECT 'database' AS what, d.datdba AS owner, coalesce(d.datacl, acldefault('d', d.datdba)) AS acl
    FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
    UNION ALL
    SELECT 'schema ' || n.nspname, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM ours AS n
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || n.nspname || '.'
        || CASE WHEN c.relispartition THEN (SELECT p.relname || ' partition' FROM pg_catalog.pg_inherits AS i
            JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent WHERE i.inhrelid = c.oid) ELSE c.relname END,
        c.relowner, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
    FROM pg_catalog.pg_class AS c JOIN ours AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'column ' || n.nspname || '.' || c.relname || '.' || a.attname, c.relowner, a.attacl
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid JOIN ours AS n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT 'function ' || n.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')', p.proowner,
        coalesce(p.proacl, acldefault('f', p.proowner))
    FROM pg_catalog.pg_proc AS p JOIN ours AS n ON n.oid = p.pronamespace
    UNION ALL
    SELECT 'default ' || f.defaclobjtype::text, f.defaclrole, f.defaclacl FROM pg_catalog.pg_default_acl AS f
    UNION ALL
    SELECT 'parameter ' || p.parname, 10::oid, p.paracl FROM pg_catalog.pg_parameter_acl AS p
), granted AS (
    SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee,
        x.privilege_type || ' ' || a.what || CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END AS what
    FROM acl AS a CROSS JOIN LATERAL aclexplode(a.acl) AS x CROSS JOIN owner AS o
    WHERE x.grantee <> a.owner AND x.grantee NOT IN (o.oid, 10)
)
SELECT DISTINCT grantee, what FROM granted ORDER BY grantee, what
