-- What was applied, in order.
SELECT version, name, sha256, applied_at FROM symphony_migrations.applied ORDER BY version
