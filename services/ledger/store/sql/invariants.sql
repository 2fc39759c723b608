-- What the ledger asks beside contracts/queries.sql. Each answers (seen, violations), as the ledger's own login.

-- name: INV-029
-- Marks are raised, by a trigger that lets nothing lower through; every other table takes no change at all.
WITH guard (oid, no_update, no_delete, no_truncate) AS (
    SELECT t.tgrelid, bool_or(t.tgtype & 17 = 17), bool_or(t.tgtype & 9 = 9), bool_or(t.tgtype & 33 = 32)
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
    WHERE t.tgenabled IN ('O', 'A') AND t.tgtype & 2 = 2 AND t.tgqual IS NULL AND t.tgattr::text = '' AND f.prosrc ~ '^\s*BEGIN\s+RAISE EXCEPTION '
        AND f.prosrc !~* '\mexception\s+when\M'
    GROUP BY 1
)
SELECT count(*) AS seen, coalesce(array_agg(c.oid::regclass || ' lets changes through') FILTER (WHERE
    (g.no_delete AND g.no_truncate AND (g.no_update OR c.relname IN ('permit_marks'))) IS NOT TRUE), '{}'::text[]) AS violations
FROM pg_catalog.pg_class AS c LEFT JOIN guard AS g ON g.oid = c.oid
WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p')
