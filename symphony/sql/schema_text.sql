-- The live schema in one text: columns, constraints, indexes, triggers, functions, grants and owners, in a fixed order.
SELECT coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), '') FROM (
    SELECT format('column %s %s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) AS line
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND a.attnum > 0 AND NOT a.attisdropped AND NOT c.relispartition
    UNION ALL
    SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND NOT c.relispartition
    UNION ALL
    SELECT format('constraint %s %s', k.conname, pg_get_constraintdef(k.oid)) FROM pg_catalog.pg_constraint AS k
    JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = k.connamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND NOT c.relispartition
    UNION ALL
    SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND NOT t.tgisinternal AND NOT c.relispartition
    UNION ALL
    SELECT format('function %s %s %s %s', p.oid::regprocedure, p.prosecdef, p.proconfig, md5(p.prosrc)) FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname IN ('symphony', 'ledger')
    UNION ALL
    SELECT format('grant %s %s', c.oid::regclass, c.relacl) FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('symphony', 'ledger') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
    UNION ALL
    SELECT format('grant %s %s', p.oid::regprocedure, p.proacl) FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace WHERE n.nspname IN ('symphony', 'ledger')
) AS lines
