-- What the ledger refused, durably. The bound on rows a second is the service's (services/ledger/refusals.py).

-- refused_at is the moment of the write; a row with count above 1 or without a peer stands for several of one code.
CREATE TABLE ledger.refusals (
    refusal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    refused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason_code text NOT NULL CHECK (reason_code ~ '^[A-Z][A-Z0-9_]{1,62}$'),
    peer_sha256 bytea CHECK (octet_length(peer_sha256) = 32),
    body_sha256 bytea CHECK (octet_length(body_sha256) = 32),
    instruction_id uuid,
    purpose text CHECK (length(purpose) BETWEEN 1 AND 16),
    count bigint NOT NULL CHECK (count >= 1),
    CONSTRAINT refusals_singly_or_counted CHECK (peer_sha256 IS NULL OR count = 1)
);
COMMENT ON TABLE ledger.refusals IS 'Refused calls of POST /v1/postings: one row each, above a bound one row a code and second';

REVOKE ALL ON TABLE ledger.refusals FROM PUBLIC;
GRANT SELECT ON TABLE ledger.refusals TO symphony_ledger_reader;

CREATE TRIGGER trg_refusals_append_only BEFORE UPDATE OR DELETE ON ledger.refusals
    FOR EACH ROW EXECUTE FUNCTION ledger.deny_mutation();
CREATE TRIGGER trg_refusals_not_truncated BEFORE TRUNCATE ON ledger.refusals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.deny_mutation();

-- Arrays of equal length, one element a row.
CREATE FUNCTION ledger.record_refusals(
    p_reason text[], p_peer bytea[], p_body bytea[], p_instruction uuid[], p_purpose text[], p_count bigint[]
) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp AS $$
    WITH added AS (
        INSERT INTO ledger.refusals (reason_code, peer_sha256, body_sha256, instruction_id, purpose, count)
        SELECT i.reason, i.peer, i.body, i.instruction_id, i.purpose, i.count
        FROM unnest(p_reason, p_peer, p_body, p_instruction, p_purpose, p_count)
            AS i (reason, peer, body, instruction_id, purpose, count)
        RETURNING refusal_id
    )
    SELECT count(*) FROM added
$$;

-- Refusals in the order of their ids, after exclusive.
CREATE FUNCTION ledger.read_refusals(p_after bigint, p_limit integer)
RETURNS TABLE (
    refusal_id bigint, refused_at timestamptz, reason_code text, peer_sha256 bytea, body_sha256 bytea,
    instruction_id uuid, purpose text, count bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, ledger, pg_temp AS $$
    SELECT r.refusal_id, r.refused_at, r.reason_code, r.peer_sha256, r.body_sha256, r.instruction_id, r.purpose, r.count
    FROM ledger.refusals AS r
    WHERE r.refusal_id > p_after
    ORDER BY r.refusal_id
    LIMIT least(p_limit, 1000)
$$;

REVOKE ALL ON FUNCTION ledger.record_refusals, ledger.read_refusals FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.record_refusals TO symphony_ledger;
GRANT EXECUTE ON FUNCTION ledger.read_refusals TO symphony_ledger, symphony_ledger_reader;
