-- The tables of one governed service. Money is BIGINT minor units; time is timestamptz; states are derived, never updated.
-- No foreign keys on hot tables (design section 8): the functions of 0004 to 0006 are the only writers.

CREATE TYPE symphony.outbox_attempt_state AS ENUM
    ('DISPATCHING', 'DISPATCHED', 'RETRYABLE', 'FAILED', 'VOIDED', 'PENDING_MANUAL', 'ZOMBIE_REQUEUE');  -- OUT-04

-- The writer's lease and fence: every write names its epoch; the row gives out the stream's gap-free numbers.
CREATE TABLE symphony.writer_epochs (
    stream text PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch >= 1),
    next_seq bigint NOT NULL CHECK (next_seq >= 1),
    started_at timestamptz NOT NULL
);

-- The highest release ever accepted, kept durably (design section 4, anti-rollback).
CREATE TABLE symphony.accepted_releases (
    number bigint PRIMARY KEY CHECK (number >= 1),
    metadata_digest text NOT NULL CHECK (metadata_digest ~ '^[0-9a-f]{64}$'),
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Durable revocations: the table only grows (SEC-08, SEC-09, INV-023). Of two entries for one id the later end holds.
CREATE TABLE symphony.revocations (
    kind text NOT NULL CHECK (kind IN ('certificate', 'token_key', 'permit_key', 'evidence_key', 'participant', 'release')),
    id text NOT NULL,
    reason_code text NOT NULL,
    revoked_at timestamptz NOT NULL,
    until timestamptz,
    list_version bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ux_revocations UNIQUE NULLS NOT DISTINCT (kind, id, until)
);

CREATE VIEW symphony.revoked_client_certs AS
    SELECT id AS cert_fingerprint_sha256, revoked_at AS revoked_at_utc, reason_code, until AS expires_at, list_version
    FROM symphony.revocations WHERE kind = 'certificate';

-- Attestations: who asked, proved how, under which release, answered how (ATT-09, ATT-10). One row per message.
CREATE TABLE symphony.ingress_attestations (
    attestation_id uuid NOT NULL,
    received_at_utc timestamptz NOT NULL,
    verified_utc timestamptz NOT NULL,
    tenant_id text,
    participant_id text,
    client_id text,
    correlation_id text NOT NULL,
    jwt_iss text,
    jwt_aud text,
    jwt_kid text,
    jwt_jti_hash text,
    token_hash text,
    presented_cert_fingerprint_sha256 text,
    cnf_x5t_s256 text,
    pop_mode text,
    signature_alg text,
    request_body_sha256 text NOT NULL,
    idempotency_key text,
    policy_version_id bigint NOT NULL,
    policy_checksum text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('ACCEPT', 'REJECT')),
    reject_reason_code text,
    tenant_seq_no bigint,
    db_role text NOT NULL,
    stream_seq bigint NOT NULL,
    leaf_hash bytea NOT NULL,
    evidence bytea NOT NULL,
    PRIMARY KEY (attestation_id, received_at_utc),
    CHECK ((tenant_id IS NULL) = (tenant_seq_no IS NULL)),
    CHECK (decision = 'ACCEPT' OR reject_reason_code IS NOT NULL),
    CHECK (decision = 'REJECT' OR tenant_id IS NOT NULL)
) PARTITION BY RANGE (received_at_utc);
CREATE INDEX ix_attestations_seq ON symphony.ingress_attestations (stream_seq);
CREATE UNIQUE INDEX ux_attestations_tenant_seq ON symphony.ingress_attestations (tenant_id, tenant_seq_no, received_at_utc);

-- Replay memory (ATT-07, ATT-08, INV-024): the day comes from the signed expiry, the hash from issuer and jti only.
CREATE TABLE symphony.seen_jti (
    expires_day date NOT NULL,
    jti_hash text NOT NULL,
    tenant_id text NOT NULL,
    first_seen_at_utc timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at_utc timestamptz NOT NULL,
    PRIMARY KEY (expires_day, jti_hash)
);

-- Instructions, accepted and refused (design section 8). tx_index -1 is the refusal of a whole message.
CREATE TABLE symphony.payment_instructions (
    instruction_id uuid PRIMARY KEY,
    attestation_id uuid NOT NULL,
    attestation_leaf_hash bytea NOT NULL,
    participant_id text NOT NULL,
    client_id text NOT NULL,
    idempotency_key text NOT NULL,
    tx_index integer NOT NULL CHECK (tx_index >= -1),
    decision text NOT NULL CHECK (decision IN ('ALLOW', 'REFUSED')),
    reason_code text,
    detail text,
    request_body_sha256 text NOT NULL,
    business_key text,
    sequence_id bigint,
    kind text,
    rail text NOT NULL,
    message_type text,
    message_id text,
    refs text NOT NULL,
    amount_minor bigint CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency text,
    instructing_agent text,
    instructed_agent text,
    settlement_date date,
    usage_day date,
    policy_version bigint NOT NULL,
    policy_checksum text NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (decision = 'REFUSED' OR (reason_code IS NULL AND business_key IS NOT NULL AND sequence_id IS NOT NULL
        AND amount_minor IS NOT NULL AND currency IS NOT NULL AND kind IS NOT NULL AND usage_day IS NOT NULL)),
    CHECK (decision = 'ALLOW' OR reason_code IS NOT NULL)
);
CREATE UNIQUE INDEX ux_instructions_key ON symphony.payment_instructions (participant_id, idempotency_key, tx_index);  -- D9
CREATE UNIQUE INDEX ux_instructions_business_key ON symphony.payment_instructions (business_key) WHERE decision = 'ALLOW';
CREATE INDEX ix_instructions_created ON symphony.payment_instructions (created_at);

-- Raw bytes and decision input, apart from everything else (REC-16, design section 8); evidence carries only commitments.
CREATE TABLE symphony.payloads (
    instruction_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    raw bytea,
    decision_input bytea,
    salt bytea NOT NULL,
    PRIMARY KEY (instruction_id, created_at)
) PARTITION BY RANGE (created_at);

-- D12 and ATT-12: two gap-free counters per participant, given out inside the accepting transaction.
CREATE TABLE symphony.participant_outbox_sequences (
    participant_id text PRIMARY KEY,
    next_sequence_id bigint NOT NULL CHECK (next_sequence_id >= 1),
    next_tenant_seq_no bigint NOT NULL CHECK (next_tenant_seq_no >= 1)
);

-- Usage against daily caps; exact, because it moves in the transaction that accepts, fails or voids a payment.
CREATE TABLE symphony.usage_daily (
    participant_id text NOT NULL,
    currency text NOT NULL,
    day date NOT NULL,
    value_minor bigint NOT NULL CHECK (value_minor >= 0),
    payment_count bigint NOT NULL CHECK (payment_count >= 0),
    PRIMARY KEY (participant_id, currency, day)
);

-- What is due (OUT-01): narrow, insert and delete only.
CREATE TABLE symphony.payment_outbox_pending (
    outbox_id uuid PRIMARY KEY,
    instruction_id uuid NOT NULL CHECK (instruction_id = outbox_id),
    participant_id text NOT NULL,
    sequence_id bigint NOT NULL,
    idempotency_key text NOT NULL,
    rail_type text NOT NULL,
    payload text NOT NULL CHECK (octet_length(payload) <= 4096),
    amount_minor bigint NOT NULL,
    attempt_count integer NOT NULL DEFAULT 0 CHECK (attempt_count >= 0),
    next_attempt_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    parent_attestation_id uuid NOT NULL,
    attestation_leaf_hash bytea NOT NULL,
    policy_version bigint NOT NULL,
    UNIQUE (participant_id, sequence_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
CREATE UNIQUE INDEX ux_pending_instruction_key ON symphony.payment_outbox_pending (instruction_id, idempotency_key);  -- INV-011
CREATE INDEX ix_pending_due ON symphony.payment_outbox_pending (next_attempt_at, created_at);

-- Leases (OUT-02, D10): who works on it, until when, under which fencing token.
CREATE TABLE symphony.outbox_leases (
    outbox_id uuid PRIMARY KEY,
    claimed_by text NOT NULL,
    lease_token uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt_no integer NOT NULL,
    attempt_count integer NOT NULL,
    recoveries integer NOT NULL DEFAULT 0,
    claimed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
CREATE INDEX ix_leases_expiry ON symphony.outbox_leases (expires_at);

-- Attempts (OUT-03, OUT-07): in flight is a row, the outcome a later row, never an update.
CREATE TABLE symphony.payment_outbox_attempts (
    attempt_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    outbox_id uuid NOT NULL,
    instruction_id uuid NOT NULL,
    participant_id text NOT NULL,
    sequence_id bigint NOT NULL,
    attempt_no integer NOT NULL CHECK (attempt_no >= 1),
    state symphony.outbox_attempt_state NOT NULL,
    epoch bigint NOT NULL,
    claimed_by text NOT NULL,
    claimed_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    rail text NOT NULL,
    rail_reference text,
    request_hash text,
    correlation_id text,
    error_class text,
    error_code text,
    latency_us bigint,
    policy_version bigint NOT NULL,
    stream_seq bigint NOT NULL,
    leaf_hash bytea NOT NULL,
    evidence bytea NOT NULL,
    PRIMARY KEY (attempt_id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX ix_attempts_by_outbox ON symphony.payment_outbox_attempts (outbox_id, claimed_at DESC);
CREATE INDEX ix_attempts_dispatching_age ON symphony.payment_outbox_attempts (claimed_at) WHERE state = 'DISPATCHING';
CREATE INDEX ix_attempts_seq ON symphony.payment_outbox_attempts (stream_seq);

-- One terminal outcome per payment (D6, OUT-05): a unique index cannot span time partitions, so a table of its own.
CREATE TABLE symphony.payment_terminals (
    outbox_id uuid PRIMARY KEY,
    state symphony.outbox_attempt_state NOT NULL CHECK (state IN ('DISPATCHED', 'FAILED', 'VOIDED')),
    attempt_no integer NOT NULL,
    source text NOT NULL CHECK (source IN ('attempt', 'resolution')),
    reason_code text,
    rail_reference text,
    finished_at timestamptz NOT NULL
);

-- Parked (PENDING_MANUAL): blocks claims until two people resolve it (D8, OUT-12).
CREATE TABLE symphony.parked (
    outbox_id uuid PRIMARY KEY,
    reason_code text NOT NULL,
    parked_at timestamptz NOT NULL
);

CREATE TABLE symphony.resolutions (
    resolution_id uuid PRIMARY KEY,
    outbox_id uuid NOT NULL UNIQUE,
    decision text NOT NULL CHECK (decision IN ('DISPATCHED', 'FAILED')),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    maker text NOT NULL,
    checker text NOT NULL,
    evidence_reference text NOT NULL,
    resolved_at timestamptz NOT NULL,
    CONSTRAINT ck_resolutions_two_people CHECK (maker <> checker)
);

-- Evidence that rides on no payment row, with the same numbering (EVD-01, design section 15).
CREATE TABLE symphony.evidence_events (
    event_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    instruction_id uuid,
    event_type text NOT NULL,
    source text NOT NULL,
    payload_hash text,
    canonical_fields text NOT NULL,
    stream_seq bigint NOT NULL,
    leaf_hash bytea NOT NULL,
    evidence bytea NOT NULL,
    PRIMARY KEY (event_id, received_at)
) PARTITION BY RANGE (received_at);
CREATE INDEX ix_events_seq ON symphony.evidence_events (stream_seq);

-- Sealed batches and what was shipped of them: both append-only; a retry sends the sealed bytes again.
CREATE TABLE symphony.evidence_batches (
    stream text NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    batch bytea NOT NULL,
    batch_sha256 text NOT NULL,
    signature text NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, first_seq)
);

CREATE TABLE symphony.evidence_shipments (
    stream text NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    shipped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, first_seq)
);

-- All evidence of the stream in one shape, for the shipper and for exports.
CREATE VIEW symphony.evidence_records AS
    SELECT stream_seq, leaf_hash, evidence FROM symphony.ingress_attestations
    UNION ALL
    SELECT stream_seq, leaf_hash, evidence FROM symphony.payment_outbox_attempts
    UNION ALL
    SELECT stream_seq, leaf_hash, evidence FROM symphony.evidence_events;

-- The state of an instruction is derived (design section 8, REC-12): terminal, else parked, else lease, else pending.
CREATE VIEW symphony.instruction_states AS
    SELECT i.instruction_id, i.participant_id, i.decision, i.reason_code, i.amount_minor, i.currency, i.created_at,
        CASE
            WHEN i.decision = 'REFUSED' THEN 'REFUSED'
            WHEN t.state = 'DISPATCHED' THEN 'SUCCEEDED'
            WHEN t.state IN ('FAILED', 'VOIDED') THEN 'FAILED'
            WHEN p.outbox_id IS NOT NULL THEN 'NEEDS_REVIEW'
            WHEN l.outbox_id IS NOT NULL AND l.recoveries > 0 THEN 'UNCERTAIN'
            WHEN l.outbox_id IS NOT NULL THEN 'EXECUTING'
            WHEN o.outbox_id IS NOT NULL THEN 'QUEUED'
            ELSE 'LOST'
        END AS state,
        t.state AS terminal_state, t.reason_code AS terminal_reason, t.rail_reference, t.finished_at
    FROM symphony.payment_instructions AS i
    LEFT JOIN symphony.payment_terminals AS t ON t.outbox_id = i.instruction_id
    LEFT JOIN symphony.parked AS p ON p.outbox_id = i.instruction_id
    LEFT JOIN symphony.outbox_leases AS l ON l.outbox_id = i.instruction_id
    LEFT JOIN symphony.payment_outbox_pending AS o ON o.outbox_id = i.instruction_id;
