-- One runner at a time in a database; waits no longer than lock_timeout.
SELECT pg_advisory_lock(hashtext('symphony_migrations'))
