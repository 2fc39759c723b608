-- Whether the database is there.
SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %s)
