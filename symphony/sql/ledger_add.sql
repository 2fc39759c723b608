-- Record one applied file, in the transaction that applied it.
INSERT INTO symphony_migrations.applied (version, name, sha256) VALUES (%s, %s, %s)
