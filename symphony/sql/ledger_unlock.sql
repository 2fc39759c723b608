-- Let the next runner go.
SELECT pg_advisory_unlock(hashtext('symphony_migrations'))
