-- The highest migration of the live ledger.
SELECT coalesce(max(version), 0) FROM symphony_migrations.applied
