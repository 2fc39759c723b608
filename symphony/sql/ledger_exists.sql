-- Whether any migration was ever recorded here.
SELECT to_regclass('symphony_migrations.applied') IS NOT NULL
