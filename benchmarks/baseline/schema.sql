-- The baseline's own tables: the durable rows of a payment, as one would write them first.
CREATE SCHEMA payments;
CREATE TABLE payments.attestations (
    attestation_id uuid PRIMARY KEY, received_at timestamptz NOT NULL, participant_id text NOT NULL, client_id text NOT NULL,
    correlation_id text NOT NULL, jti_hash text NOT NULL, token_hash text NOT NULL, certificate_sha256 text NOT NULL,
    body_sha256 text NOT NULL, idempotency_key text NOT NULL, policy_digest text NOT NULL, decision text NOT NULL,
    evidence bytea NOT NULL, leaf_hash bytea NOT NULL
);
CREATE TABLE payments.seen_jti (jti_hash text PRIMARY KEY, expires_at timestamptz NOT NULL);
CREATE TABLE payments.instructions (
    instruction_id uuid PRIMARY KEY, attestation_id uuid NOT NULL, participant_id text NOT NULL, idempotency_key text NOT NULL,
    business_key text NOT NULL UNIQUE, message_type text NOT NULL, message_id text NOT NULL, amount_minor bigint NOT NULL,
    currency text NOT NULL, instructing_agent text NOT NULL, instructed_agent text NOT NULL, settlement_date date,
    raw bytea NOT NULL, decision_input bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (participant_id, idempotency_key)
);
CREATE TABLE payments.usage_daily (
    participant_id text, currency text, day date, value_minor bigint NOT NULL, payment_count bigint NOT NULL,
    PRIMARY KEY (participant_id, currency, day)
);
CREATE TABLE payments.outbox (
    outbox_id uuid PRIMARY KEY, participant_id text NOT NULL, body text NOT NULL, created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE payments.attempts (
    attempt_id uuid PRIMARY KEY, outbox_id uuid NOT NULL, state text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    evidence bytea NOT NULL, leaf_hash bytea NOT NULL
);
CREATE INDEX ON payments.attempts (outbox_id);
CREATE TABLE payments.terminals (
    outbox_id uuid PRIMARY KEY, state text NOT NULL, posting_id uuid NOT NULL, finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE SCHEMA ledger;
CREATE TABLE ledger.postings (
    posting_id uuid PRIMARY KEY, instruction_id uuid NOT NULL UNIQUE, amount_minor bigint NOT NULL, currency text NOT NULL,
    settlement_date date, posted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE ledger.lines (
    posting_id uuid NOT NULL, side text NOT NULL, agent text NOT NULL, currency text NOT NULL, amount_minor bigint NOT NULL,
    PRIMARY KEY (posting_id, side)
);
CREATE INDEX ON ledger.lines (agent, currency);
