-- Double entry between settlement accounts. Money is BIGINT minor units, 1 to 2^53-1 (design section 8).
-- Balances are derived from the lines: no balance row, so no hot row and no lock order of accounts.
-- No foreign keys on the hot path (findings: a third of the cost); the functions are the only writers and the
-- statement trigger on the lines checks posting, account, currency and sum of every pair.

CREATE TABLE ledger.accounts (
    account_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent text NOT NULL CHECK (length(agent) BETWEEN 3 AND 80),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    opened_release bigint NOT NULL CHECK (opened_release >= 1),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (agent, currency)
);
COMMENT ON TABLE ledger.accounts IS 'A settlement account: one agent, one currency; opened at first use';

-- posting_id is a uuid v7: its time is posted_at, so that the primary key also serves reading by time.
CREATE TABLE ledger.postings (
    posting_id uuid PRIMARY KEY,
    instruction_id uuid NOT NULL,
    purpose text NOT NULL CHECK (purpose IN ('post', 'reserve', 'commit', 'void', 'return')),
    kind text NOT NULL CHECK (kind = 'transfer'),
    rail text NOT NULL CHECK (length(rail) BETWEEN 1 AND 63),
    amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    settlement_date date,
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    attempt bigint NOT NULL CHECK (attempt >= 0),
    release_number bigint NOT NULL CHECK (release_number >= 1),
    sidecar text NOT NULL,
    key_id bytea NOT NULL CHECK (octet_length(key_id) = 32),
    attestation_leaf_hash bytea NOT NULL CHECK (octet_length(attestation_leaf_hash) = 32),
    posted_at timestamptz NOT NULL CHECK (posted_at = uuid_extract_timestamp(posting_id)),
    CONSTRAINT postings_once UNIQUE (instruction_id, purpose)
);
COMMENT ON TABLE ledger.postings IS 'The journal: one row per effect of an instruction, with the permit that it rests on';

CREATE TABLE ledger.lines (
    posting_id uuid NOT NULL,
    side text NOT NULL CHECK (side IN ('D', 'C')),
    account_id bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN -9007199254740991 AND 9007199254740991),
    PRIMARY KEY (posting_id, side),
    CONSTRAINT lines_signed CHECK ((side = 'D' AND amount_minor < 0) OR (side = 'C' AND amount_minor > 0))
);
COMMENT ON TABLE ledger.lines IS 'The two entries of a posting: debit negative, credit positive, their sum zero';
CREATE INDEX lines_by_account ON ledger.lines (account_id) INCLUDE (amount_minor);

CREATE TABLE ledger.permit_marks (
    instruction_id uuid PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    attempt bigint NOT NULL CHECK (attempt >= 0),
    purpose text NOT NULL CHECK (purpose IN ('post', 'reserve', 'commit', 'void', 'return', 'seal')),
    request_sha256 bytea NOT NULL CHECK (octet_length(request_sha256) = 32)
) WITH (fillfactor = 80);
COMMENT ON TABLE ledger.permit_marks IS 'The highest (epoch, attempt) seen for an instruction; the row is its lock; never goes back';

CREATE TABLE ledger.seals (
    instruction_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt bigint NOT NULL,
    posting_id uuid,
    release_number bigint NOT NULL CHECK (release_number >= 1),
    sidecar text NOT NULL,
    key_id bytea NOT NULL CHECK (octet_length(key_id) = 32),
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (instruction_id, epoch, attempt)
);
COMMENT ON TABLE ledger.seals IS 'Each seal and what it found posted; nothing older than its pair can post any more';

CREATE TABLE ledger.accepted_releases (
    number bigint PRIMARY KEY CHECK (number >= 1),
    metadata_digest text NOT NULL CHECK (metadata_digest ~ '^[0-9a-f]{64}$'),
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.accepted_releases IS 'Every release this ledger accepted; the highest is its protection against rollback';

REVOKE ALL ON ALL TABLES IN SCHEMA ledger FROM PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO symphony_ledger_reader;
