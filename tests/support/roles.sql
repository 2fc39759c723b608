-- (A database's owner is pg_database_owner in it; that is no grant.)
-- Every role of the cluster but the server's own: may it log in, what is it besides, which roles may it assume, which inherit.
SELECT r.rolname, r.rolcanlogin, r.rolsuper OR r.rolcreatedb OR r.rolbypassrls OR r.rolreplication, r.rolcreaterole,
    coalesce((SELECT array_agg(o.rolname::text ORDER BY o.rolname) FROM pg_catalog.pg_roles AS o
        WHERE o.oid <> r.oid AND o.rolname <> 'pg_database_owner' AND pg_has_role(r.oid, o.oid, 'SET')), '{}'),
    coalesce((SELECT array_agg(o.rolname::text ORDER BY o.rolname) FROM pg_catalog.pg_roles AS o
        WHERE o.oid <> r.oid AND o.rolname <> 'pg_database_owner' AND pg_has_role(r.oid, o.oid, 'USAGE')), '{}')
FROM pg_catalog.pg_roles AS r WHERE r.rolname !~ '^pg_' AND r.oid <> 10
