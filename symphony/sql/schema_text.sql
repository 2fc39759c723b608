-- The live schema as lines in a fixed order: what there is, who owns it and who may what. Without partitions (they come with
-- time), with the owner's name written "owner", and without order of grants, so that two machines agree (EVD-05, MIG-10).
WITH ours AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), named AS (
    SELECT r.oid, r.rolname::text FROM pg_catalog.pg_roles AS r
    WHERE r.oid <> (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
), relation AS (
    SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.relnamespace IN (SELECT o.oid FROM ours AS o) AND NOT c.relispartition
), acl AS (
    SELECT format('schema %s', n.nspname) AS what, n.nspowner AS owner, n.nspacl AS acl, 'n'::"char" AS kind FROM ours AS n
    UNION ALL
    SELECT format('%s', c.oid::regclass), c.relowner, c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char"
    FROM relation AS c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT format('%s.%s', c.oid::regclass, a.attname), c.relowner, a.attacl, 'c'::"char"
    FROM relation AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT format('%s', p.oid::regprocedure), p.proowner, p.proacl, 'f'::"char"
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT 'database', d.datdba, d.datacl, 'd'::"char" FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
    UNION ALL
    SELECT format('default %s %s', f.defaclobjtype, f.defaclnamespace::regnamespace), f.defaclrole, f.defaclacl, f.defaclobjtype
    FROM pg_catalog.pg_default_acl AS f
), lines AS (
    SELECT format('owner %s %s', a.what, coalesce(r.rolname, 'owner')) AS line FROM acl AS a LEFT JOIN named AS r ON r.oid = a.owner
    UNION ALL
    SELECT format('grant %s %s to %s%s', a.what, x.privilege_type, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE coalesce(r.rolname, 'owner') END,
        CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END)
    FROM acl AS a CROSS JOIN LATERAL aclexplode(coalesce(a.acl, acldefault(a.kind, a.owner))) AS x LEFT JOIN named AS r ON r.oid = x.grantee
    WHERE x.grantee <> a.owner
    UNION ALL
    SELECT format('relation %s %s %s%s', c.oid::regclass, c.relkind, c.relpersistence,
        CASE WHEN c.relrowsecurity THEN ' row security' ELSE '' END) FROM relation AS c
    UNION ALL
    SELECT format('event trigger %s %s %s enabled %s', e.evtname, e.evtevent, e.evtfoid::regprocedure, e.evtenabled)
    FROM pg_catalog.pg_event_trigger AS e
    UNION ALL
    SELECT format('column %s.%s %s%s%s%s%s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, ' default ' || pg_get_expr(d.adbin, d.adrelid),
        ' identity ' || nullif(a.attidentity::text, ''), ' generated ' || nullif(a.attgenerated::text, ''))
    FROM relation AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM pg_catalog.pg_index AS i JOIN relation AS c ON c.oid = i.indrelid
    UNION ALL
    SELECT format('constraint %s %s %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_catalog.pg_constraint AS k JOIN relation AS c ON c.oid = k.conrelid WHERE k.contype <> 'n'  -- columns say that
    UNION ALL
    SELECT format('trigger %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_catalog.pg_trigger AS t JOIN relation AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('rule %s', pg_get_ruledef(u.oid)) FROM pg_catalog.pg_rewrite AS u JOIN relation AS c ON c.oid = u.ev_class
    UNION ALL
    SELECT format('policy %s %s', c.oid::regclass, y.polname) FROM pg_catalog.pg_policy AS y JOIN relation AS c ON c.oid = y.polrelid
    UNION ALL
    SELECT format('type %s %s', t.oid::regtype, (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum AS e
        WHERE e.enumtypid = t.oid)) FROM pg_catalog.pg_type AS t WHERE t.typtype IN ('e', 'd') AND t.typnamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT format('function %s sha256 %s', p.oid::regprocedure, encode(sha256(convert_to(pg_get_functiondef(p.oid), 'UTF8')), 'hex'))
    FROM pg_catalog.pg_proc AS p WHERE p.prokind IN ('f', 'p') AND p.pronamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT format('extension %s', e.extname) FROM pg_catalog.pg_extension AS e
)
SELECT coalesce(string_agg(regexp_replace(line, '\s+', ' ', 'g'), E'\n' ORDER BY line COLLATE "C"), '') FROM lines
