-- The live schema as lines in a fixed order: what there is, who owns it and who may what. Of partitions only in what they are
-- other than their root (they come with time), with the owner's name written "owner", and without order of grants, so that two
-- machines agree (EVD-05, MIG-10). Roles count in so far as they have rights here. Not seen: comments, values of sequences.
WITH ours AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), named AS (
    SELECT r.oid, r.rolname::text FROM pg_catalog.pg_roles AS r
    WHERE r.oid <> (SELECT d.datdba FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
), relation AS (
    SELECT c.* FROM pg_catalog.pg_class AS c WHERE c.relnamespace IN (SELECT o.oid FROM ours AS o) AND NOT c.relispartition
), part AS (
    SELECT c.*, pg_partition_root(c.oid) AS root, r.relowner AS root_owner, r.relacl AS root_acl,
        r.relrowsecurity AS root_secured, r.relforcerowsecurity AS root_forced
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_class AS r ON r.oid = pg_partition_root(c.oid)
    WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f') AND c.relnamespace IN (SELECT o.oid FROM ours AS o)
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
    SELECT format('type %s', t.oid::regtype), t.typowner, t.typacl, 'T'::"char" FROM pg_catalog.pg_type AS t
    WHERE t.typtype IN ('e', 'd') AND t.typnamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT 'database', d.datdba, d.datacl, 'd'::"char" FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
    UNION ALL
    SELECT format('default %s %s', f.defaclobjtype, f.defaclnamespace::regnamespace), f.defaclrole, f.defaclacl, f.defaclobjtype
    FROM pg_catalog.pg_default_acl AS f
), holder AS (  -- who has a right here, by itself
    SELECT r.oid, r.rolname FROM named AS r
    WHERE r.oid IN (SELECT a.owner FROM acl AS a UNION SELECT x.grantee FROM acl AS a CROSS JOIN LATERAL aclexplode(a.acl) AS x)
), related AS (  -- and who may act as one that has
    SELECT h.oid, h.rolname FROM holder AS h
    UNION
    SELECT r.oid, r.rolname FROM named AS r JOIN pg_catalog.pg_auth_members AS m ON m.member = r.oid
    JOIN holder AS h ON pg_has_role(r.oid, h.oid, 'MEMBER') JOIN pg_catalog.pg_roles AS a ON a.oid = r.oid AND NOT a.rolsuper
), part_acl AS (
    SELECT p.root, x.privilege_type, x.grantee FROM part AS p CROSS JOIN LATERAL aclexplode(p.relacl) AS x
        WHERE x.grantee <> p.relowner
    EXCEPT
    SELECT p.root, x.privilege_type, x.grantee FROM part AS p CROSS JOIN LATERAL aclexplode(p.root_acl) AS x
), part_line AS (
    SELECT p.root, format('grant %s to %s', p.privilege_type, CASE WHEN p.grantee = 0 THEN 'PUBLIC' ELSE coalesce(r.rolname,
        'owner') END) AS line
    FROM part_acl AS p LEFT JOIN named AS r ON r.oid = p.grantee
    UNION
    SELECT p.root, format('grant %s.%s to %s', a.attname, x.privilege_type, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE
        coalesce(r.rolname, 'owner') END)
    FROM part AS p JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.oid CROSS JOIN LATERAL aclexplode(a.attacl) AS x
    LEFT JOIN named AS r ON r.oid = x.grantee
    UNION
    SELECT p.root, format('owner %s', coalesce(r.rolname, 'owner')) FROM part AS p LEFT JOIN named AS r ON r.oid = p.relowner
    WHERE p.relowner <> p.root_owner  -- a superuser may everything anyway
        AND p.relowner NOT IN (SELECT a.oid FROM pg_catalog.pg_roles AS a WHERE a.rolsuper)
    UNION
    SELECT p.root, format('row security %s forced %s', p.relrowsecurity, p.relforcerowsecurity) FROM part AS p
    WHERE (p.relrowsecurity, p.relforcerowsecurity) <> (p.root_secured, p.root_forced)
    UNION
    SELECT p.root, format('trigger %s enabled %s', CASE WHEN t.tgisinternal THEN 'of a constraint' ELSE t.tgname END,
        t.tgenabled)
    FROM part AS p JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = p.oid
        LEFT JOIN pg_catalog.pg_trigger AS u ON u.oid = t.tgparentid
    WHERE CASE WHEN u.oid IS NULL THEN NOT t.tgisinternal OR t.tgenabled <> 'O' ELSE t.tgenabled <> u.tgenabled END
    UNION
    SELECT p.root, format('rule %s enabled %s', u.rulename, u.ev_enabled) FROM part AS p
        JOIN pg_catalog.pg_rewrite AS u ON u.ev_class = p.oid
    UNION
    SELECT p.root, format('policy %s', y.polname) FROM part AS p JOIN pg_catalog.pg_policy AS y ON y.polrelid = p.oid
    UNION
    SELECT p.root, format('default of %s %s', a.attname, pg_get_expr(d.adbin, d.adrelid))
    FROM part AS p JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_attribute AS b ON b.attrelid = p.root AND b.attname = a.attname
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_attrdef AS e ON e.adrelid = b.attrelid AND e.adnum = b.attnum
    WHERE pg_get_expr(d.adbin, d.adrelid) IS DISTINCT FROM pg_get_expr(e.adbin, e.adrelid)
), built_in (what, acl, init) AS (  -- of the server's own, and what was given to whom beyond how it came
    SELECT p.oid::regprocedure::text, p.proacl, i.initprivs FROM pg_catalog.pg_proc AS p
    LEFT JOIN pg_catalog.pg_init_privs AS i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0
    WHERE p.proacl IS NOT NULL AND p.pronamespace NOT IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT c.oid::regclass::text, c.relacl, i.initprivs FROM pg_catalog.pg_class AS c
    LEFT JOIN pg_catalog.pg_init_privs AS i ON i.classoid = 'pg_class'::regclass AND i.objoid = c.oid AND i.objsubid = 0
    WHERE c.relacl IS NOT NULL AND c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
), made (class, oid) AS (  -- by somebody, not by initdb, and told by its description alone
    SELECT 'pg_cast'::regclass, c.oid FROM pg_catalog.pg_cast AS c
    UNION ALL SELECT 'pg_collation'::regclass, c.oid FROM pg_catalog.pg_collation AS c
    UNION ALL SELECT 'pg_conversion'::regclass, c.oid FROM pg_catalog.pg_conversion AS c
    UNION ALL SELECT 'pg_opclass'::regclass, c.oid FROM pg_catalog.pg_opclass AS c
    UNION ALL SELECT 'pg_opfamily'::regclass, c.oid FROM pg_catalog.pg_opfamily AS c
    UNION ALL SELECT 'pg_am'::regclass, c.oid FROM pg_catalog.pg_am AS c
    UNION ALL SELECT 'pg_language'::regclass, c.oid FROM pg_catalog.pg_language AS c
    UNION ALL SELECT 'pg_transform'::regclass, c.oid FROM pg_catalog.pg_transform AS c
    UNION ALL SELECT 'pg_ts_config'::regclass, c.oid FROM pg_catalog.pg_ts_config AS c
    UNION ALL SELECT 'pg_ts_dict'::regclass, c.oid FROM pg_catalog.pg_ts_dict AS c
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, c.oid FROM pg_catalog.pg_foreign_data_wrapper AS c
    UNION ALL SELECT 'pg_foreign_server'::regclass, c.oid FROM pg_catalog.pg_foreign_server AS c
    UNION ALL SELECT 'pg_publication'::regclass, c.oid FROM pg_catalog.pg_publication AS c
    UNION ALL SELECT 'pg_publication_namespace'::regclass, c.oid FROM pg_catalog.pg_publication_namespace AS c
    UNION ALL SELECT 'pg_publication_rel'::regclass, c.oid FROM pg_catalog.pg_publication_rel AS c
    WHERE c.prrelid NOT IN (SELECT p.oid FROM part AS p)
    UNION ALL SELECT 'pg_subscription'::regclass, c.oid FROM pg_catalog.pg_subscription AS c
    WHERE c.subdbid = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    UNION ALL SELECT 'pg_proc'::regclass, c.oid FROM pg_catalog.pg_proc AS c
    WHERE c.pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
), lines AS (
    SELECT format('owner %s %s', a.what, coalesce(r.rolname, 'owner')) AS line FROM acl AS a
        LEFT JOIN named AS r ON r.oid = a.owner
    UNION ALL
    SELECT format('grant %s %s to %s%s', a.what, x.privilege_type, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE
        coalesce(r.rolname, 'owner') END,
        CASE WHEN x.is_grantable THEN ' with grant option' ELSE '' END)
    FROM acl AS a CROSS JOIN LATERAL aclexplode(coalesce(a.acl, acldefault(a.kind, a.owner))) AS x
        LEFT JOIN named AS r ON r.oid = x.grantee
    WHERE x.grantee <> a.owner
    UNION ALL
    SELECT format('relation %s %s %s%s%s%s%s%s', c.oid::regclass, c.relkind, c.relpersistence,
        CASE WHEN c.relrowsecurity THEN ' row security' ELSE '' END, CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END,
        ' partition by ' || pg_get_partkeydef(c.oid), CASE WHEN c.relreplident <> 'd' AND c.relkind IN ('r', 'p',
            'm') THEN ' replica identity ' || c.relreplident::text END,
        ' with ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) AS o)) FROM relation AS c
    UNION ALL
    SELECT format('partition of %s: %s', p.root::regclass, p.line) FROM part_line AS p
    UNION ALL
    SELECT format('child %s of %s', n.inhrelid::regclass, n.inhparent::regclass) FROM pg_catalog.pg_inherits AS n
    JOIN relation AS c ON c.oid = n.inhrelid WHERE c.relkind IN ('r', 'f')
    UNION ALL
    SELECT format('sequence %s as %s start %s by %s min %s max %s cache %s%s%s', s.seqrelid::regclass, s.seqtypid::regtype,
        s.seqstart,
        s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END,
        (SELECT format(' of %s.%s', e.refobjid::regclass, a.attname) FROM pg_catalog.pg_depend AS e
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = e.refobjid AND a.attnum = e.refobjsubid
         WHERE e.classid = 'pg_class'::regclass AND e.objid = s.seqrelid AND e.deptype IN ('a',
             'i') AND e.refobjsubid > 0 LIMIT 1))
    FROM pg_catalog.pg_sequence AS s JOIN relation AS c ON c.oid = s.seqrelid
    UNION ALL
    SELECT format('role %s%s%s%s%s%s', r.rolname, CASE WHEN a.rolsuper THEN ' superuser' ELSE '' END,
        CASE WHEN a.rolbypassrls THEN ' bypassrls' ELSE '' END, CASE WHEN a.rolcreaterole THEN ' createrole' ELSE '' END,
        CASE WHEN a.rolcreatedb THEN ' createdb' ELSE '' END, CASE WHEN a.rolreplication THEN ' replication' ELSE '' END)
    FROM related AS r JOIN pg_catalog.pg_roles AS a ON a.oid = r.oid
    WHERE a.rolsuper OR a.rolbypassrls OR a.rolcreaterole OR a.rolcreatedb OR a.rolreplication
    UNION ALL
    SELECT format('member %s of %s', r.rolname, coalesce(g.rolname, 'owner')) FROM pg_catalog.pg_auth_members AS m
    JOIN related AS r ON r.oid = m.member LEFT JOIN named AS g ON g.oid = m.roleid
    WHERE m.member IN (SELECT h.oid FROM holder AS h) OR g.rolname ~ '^pg_'
    UNION ALL
    SELECT format('setting of %s %s%s', CASE WHEN s.setrole = 0 THEN 'everybody' ELSE coalesce(r.rolname, 'owner') END,
        CASE WHEN s.setdatabase = 0 THEN 'everywhere ' ELSE '' END, v)
    FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS v
        LEFT JOIN named AS r ON r.oid = s.setrole
    WHERE s.setdatabase IN (SELECT 0::oid UNION ALL SELECT d.oid FROM pg_catalog.pg_database AS d
        WHERE d.datname = current_database())
        AND CASE WHEN s.setrole = 0 OR r.oid IN (SELECT e.oid FROM related AS e) THEN true
            ELSE r.oid IS NULL AND (s.setdatabase <> 0 OR v ~ '^(search_path|session_replication_role|row_security|role)=') END
    UNION ALL
    SELECT format('grant %s %s to %s', b.what, x.privilege_type, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE r.rolname END)
    FROM built_in AS b CROSS JOIN LATERAL aclexplode(b.acl) AS x LEFT JOIN related AS r ON r.oid = x.grantee
    WHERE (x.grantee = 0 OR r.oid IS NOT NULL) AND NOT EXISTS (
        SELECT FROM aclexplode(b.init) AS i WHERE (i.grantee, i.privilege_type) = (x.grantee, x.privilege_type))
        AND (b.init IS NOT NULL OR x.grantee <> 0)
    UNION ALL
    SELECT format('made %s', pg_describe_object(m.class, m.oid, 0)) FROM made AS m WHERE m.oid >= 16384
    UNION ALL
    SELECT format('operator %s is %s', o.oid::regoperator, o.oprcode::oid::regprocedure) FROM pg_catalog.pg_operator AS o
        WHERE o.oid >= 16384
    UNION ALL
    SELECT format('statistics %s', pg_get_statisticsobjdef(s.oid)) FROM pg_catalog.pg_statistic_ext AS s
        JOIN relation AS c ON c.oid = s.stxrelid
    UNION ALL
    SELECT format('aggregate %s %s', p.oid::regprocedure, to_jsonb(a) - 'aggfnoid') FROM pg_catalog.pg_aggregate AS a
    JOIN pg_catalog.pg_proc AS p ON p.oid = a.aggfnoid WHERE p.pronamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT format('event trigger %s %s %s enabled %s%s', e.evtname, e.evtevent, e.evtfoid::regprocedure, e.evtenabled,
        ' on ' || e.evttags::text)
    FROM pg_catalog.pg_event_trigger AS e
    UNION ALL
    SELECT format('column %s.%s %s%s%s%s%s%s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, ' default ' || pg_get_expr(d.adbin, d.adrelid),
        ' identity ' || nullif(a.attidentity::text, ''), ' generated ' || nullif(a.attgenerated::text, ''),
        (SELECT ' collate ' || a.attcollation::regcollation::text FROM pg_catalog.pg_type AS t
            WHERE t.oid = a.atttypid AND t.typcollation <> a.attcollation))
    FROM relation AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('index %s%s', pg_get_indexdef(i.indexrelid),
        CASE WHEN i.indisvalid AND i.indisready THEN '' ELSE ' not valid' END) FROM pg_catalog.pg_index AS i
        JOIN relation AS c ON c.oid = i.indrelid
    UNION ALL
    SELECT format('constraint %s %s %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_catalog.pg_constraint AS k JOIN relation AS c ON c.oid = k.conrelid WHERE k.contype <> 'n'  -- columns say that
    UNION ALL
    SELECT format('trigger %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
    FROM pg_catalog.pg_trigger AS t JOIN relation AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('trigger of the constraint %s on %s enabled %s', k.conname, c.oid::regclass, t.tgenabled)
    FROM pg_catalog.pg_trigger AS t JOIN relation AS c ON c.oid = t.tgrelid
        JOIN pg_catalog.pg_constraint AS k ON k.oid = t.tgconstraint
    WHERE t.tgisinternal AND t.tgenabled <> 'O'
    UNION ALL
    SELECT format('rule %s enabled %s', pg_get_ruledef(u.oid), u.ev_enabled) FROM pg_catalog.pg_rewrite AS u
        JOIN relation AS c ON c.oid = u.ev_class
    UNION ALL
    SELECT format('policy %s %s %s %s to %s using %s check %s', c.oid::regclass, y.polname,
        CASE WHEN y.polpermissive THEN 'permissive' ELSE 'restrictive' END, y.polcmd,
        (SELECT string_agg(CASE WHEN g = 0 THEN 'PUBLIC' ELSE coalesce(r.rolname, 'owner') END, ', ' ORDER BY r.rolname)
         FROM unnest(y.polroles) AS g LEFT JOIN named AS r ON r.oid = g),
        pg_get_expr(y.polqual, y.polrelid), pg_get_expr(y.polwithcheck, y.polrelid)) FROM pg_catalog.pg_policy AS y
            JOIN relation AS c ON c.oid = y.polrelid
    UNION ALL
    SELECT format('constraint of the domain %s %s %s', t.oid::regtype, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_type AS t ON t.oid = k.contypid
    WHERE t.typnamespace IN (SELECT o.oid FROM ours AS o) AND k.contype <> 'n'
    UNION ALL
    SELECT format('type %s %s%s%s%s', t.oid::regtype, CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype,
        t.typtypmod) END,
        CASE WHEN t.typnotnull THEN ' not null' ELSE '' END, ' default ' || t.typdefault, (SELECT string_agg(e.enumlabel,
            ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum AS e
        WHERE e.enumtypid = t.oid)) FROM pg_catalog.pg_type AS t WHERE t.typtype IN ('e',
            'd') AND t.typnamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT format('function %s sha256 %s', p.oid::regprocedure, encode(sha256(convert_to(pg_get_functiondef(p.oid),
        'UTF8')), 'hex'))
    FROM pg_catalog.pg_proc AS p WHERE p.prokind IN ('f', 'p') AND p.pronamespace IN (SELECT o.oid FROM ours AS o)
    UNION ALL
    SELECT format('extension %s %s', e.extname, e.extversion) FROM pg_catalog.pg_extension AS e
)
SELECT coalesce(string_agg(replace(replace(line, E'\r', '\r'), E'\n', '\n'), E'\n' ORDER BY line COLLATE "C"), '') FROM lines
