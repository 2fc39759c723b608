"""The local stack: embedded PostgreSQL, logins, processes."""
