-- The invariants compiled into the ledger, by id; asked as the service's own login, which sees its rights but cannot change them.
SELECT 'INV-006', NOT has_schema_privilege('symphony_ledger', 'ledger', 'CREATE')  -- the service's role creates nothing
UNION ALL
SELECT 'INV-010', count(*) > 0 AND bool_and(NOT has_table_privilege('symphony_ledger', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
FROM pg_catalog.pg_class AS c  -- no direct DML: functions only
WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'INV-014', count(*) > 0 AND bool_and(c.guards = 3)  -- append-only: UPDATE, DELETE and TRUNCATE are guarded
FROM (
    SELECT (bool_or(t.tgtype & 16 <> 0))::integer + (bool_or(t.tgtype & 8 <> 0))::integer
        + (bool_or(t.tgtype & 32 <> 0))::integer AS guards
    FROM pg_catalog.pg_class AS k
    LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = k.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
    WHERE k.relnamespace = 'ledger'::regnamespace AND k.relkind IN ('r', 'p')
    GROUP BY k.oid
) AS c
UNION ALL
SELECT 'INV-008', count(*) > 0 AND bool_and(coalesce('search_path=pg_catalog, ledger, pg_temp' = ANY (p.proconfig), false))
FROM pg_catalog.pg_proc AS p  -- every definer function pins its search_path
WHERE p.pronamespace = 'ledger'::regnamespace AND p.prosecdef
