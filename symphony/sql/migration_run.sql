-- The block around a migration.
DO {block}
