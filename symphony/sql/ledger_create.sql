-- The checksum ledger of applied migrations (MIG-01, INV-001, INV-003): rows are only added.
CREATE SCHEMA IF NOT EXISTS symphony_migrations;
CREATE TABLE IF NOT EXISTS symphony_migrations.applied (
    version     integer     PRIMARY KEY CHECK (version > 0),
    name        text        NOT NULL UNIQUE,
    sha256      text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_by  text        NOT NULL DEFAULT session_user
);
