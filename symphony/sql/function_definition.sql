-- A function as text, by its qualified name; NULL where there is none of that name, or more than one.
SELECT pg_catalog.pg_get_functiondef(pg_catalog.to_regproc(%s))
