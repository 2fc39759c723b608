-- rollback: traffic to the release before, which does not know the tables; they stay in place. Its promotions ask for no review.
-- compatibility: tests/releases/test_breaking_glass.py
-- Break-glass (ADR 0013, POL-07): emergency releases as they were sealed, and every officer's act about them, append-only.
CREATE TABLE symphony.emergency_releases (
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    number bigint NOT NULL CHECK (number BETWEEN 1 AND 1000000),
    metadata_digest text NOT NULL CHECK (metadata_digest ~ '^[0-9a-f]{64}$'),
    metadata bytea NOT NULL CHECK (octet_length(metadata) <= 2000000),
    proposer_key_id text NOT NULL CHECK (proposer_key_id ~ '^[0-9a-f]{64}$'),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 64),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT emergency_releases_pkey PRIMARY KEY (environment, number)
);
CREATE TABLE symphony.emergency_targets (
    environment text NOT NULL,
    number bigint NOT NULL,
    path text NOT NULL CHECK (length(path) BETWEEN 1 AND 200),
    sha256 text NOT NULL REFERENCES symphony.tuf_targets (sha256),
    CONSTRAINT emergency_targets_pkey PRIMARY KEY (environment, number, path),
    FOREIGN KEY (environment, number) REFERENCES symphony.emergency_releases (environment, number)
);

-- APPROVED: one officer's approval; SEALED: the threshold is reached with it; OPENING: one officer's signature over an opening;
-- OPENED: two are there, with both; CLOSED and REVIEWED by one. ``payload_sha256`` is of what was signed.
CREATE TABLE symphony.emergency_acts (
    act_id bigint GENERATED ALWAYS AS IDENTITY,
    environment text NOT NULL,
    number bigint NOT NULL,
    act text NOT NULL CHECK (act IN ('APPROVED', 'SEALED', 'OPENING', 'OPENED', 'CLOSED', 'REVIEWED')),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 64),
    actor_key_id text NOT NULL CHECK (actor_key_id ~ '^[0-9a-f]{64}$'),
    payload_sha256 text NOT NULL CHECK (payload_sha256 ~ '^[0-9a-f]{64}$'),
    envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 1 AND 65536),
    signature text CHECK (signature ~ '^[0-9a-f]{128}$'),
    stands_over bigint,
    opened_at timestamptz,
    ends_at timestamptz,
    review_by timestamptz,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT emergency_acts_pkey PRIMARY KEY (act_id),
    CHECK ((act = 'OPENED') = (stands_over IS NOT NULL AND opened_at IS NOT NULL AND ends_at IS NOT NULL AND review_by IS NOT NULL)),
    CHECK ((act = 'APPROVED') = (signature IS NOT NULL)),
    FOREIGN KEY (environment, number) REFERENCES symphony.emergency_releases (environment, number)
);
CREATE UNIQUE INDEX ux_emergency_acts_once ON symphony.emergency_acts (environment, number, act)
    WHERE act IN ('SEALED', 'OPENED', 'CLOSED', 'REVIEWED');
CREATE UNIQUE INDEX ux_emergency_acts_by ON symphony.emergency_acts (environment, number, act, actor_key_id, payload_sha256)
    WHERE act IN ('APPROVED', 'OPENING');

CREATE TRIGGER trg_emergency_releases_append_only BEFORE UPDATE OR DELETE ON symphony.emergency_releases
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_emergency_releases_not_truncated BEFORE TRUNCATE ON symphony.emergency_releases
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_emergency_targets_append_only BEFORE UPDATE OR DELETE ON symphony.emergency_targets
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_emergency_targets_not_truncated BEFORE TRUNCATE ON symphony.emergency_targets
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_emergency_acts_append_only BEFORE UPDATE OR DELETE ON symphony.emergency_acts
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_emergency_acts_not_truncated BEFORE TRUNCATE ON symphony.emergency_acts
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- Record a sealed release on its way, with its target bytes. Its number follows the highest one.
CREATE FUNCTION symphony.propose_emergency(
    p_environment text, p_number bigint, p_metadata_digest text, p_metadata bytea, p_key_id text, p_actor text, p_reason text,
    p_paths text[], p_digests text[], p_contents bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.lock_repository();
    IF p_number <> coalesce((SELECT max(e.number) FROM symphony.emergency_releases AS e
                             WHERE e.environment = p_environment), 0) + 1 THEN
        RAISE EXCEPTION 'emergency % does not follow the highest number', p_number USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.tuf_targets (sha256, content)
    SELECT DISTINCT ON (n.sha256) n.sha256, n.content FROM unnest(p_digests, p_contents) AS n (sha256, content)
    ORDER BY n.sha256
    ON CONFLICT (sha256) DO NOTHING;
    INSERT INTO symphony.emergency_releases (environment, number, metadata_digest, metadata, proposer_key_id, actor, reason)
    VALUES (p_environment, p_number, p_metadata_digest, p_metadata, p_key_id, p_actor, p_reason);
    INSERT INTO symphony.emergency_targets (environment, number, path, sha256)
    SELECT p_environment, p_number, n.path, n.sha256 FROM unnest(p_paths, p_digests) AS n (path, sha256);
END
$$;

-- Keep an act. What it needs before it is asked here again: sealed before opened, opened before closed or reviewed.
CREATE FUNCTION symphony.act_on_emergency(
    p_environment text, p_number bigint, p_act text, p_actor text, p_key_id text, p_payload_sha256 text, p_envelope bytea,
    p_signature text, p_stands_over bigint, p_opened_at timestamptz, p_ends_at timestamptz, p_review_by timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_needed text := CASE p_act WHEN 'OPENING' THEN 'SEALED' WHEN 'OPENED' THEN 'SEALED'
                                WHEN 'CLOSED' THEN 'OPENED' WHEN 'REVIEWED' THEN 'OPENED' END;
BEGIN
    PERFORM symphony.lock_repository();
    IF v_needed IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM symphony.emergency_acts AS a
        WHERE a.environment = p_environment AND a.number = p_number AND a.act = v_needed)
    THEN
        RAISE EXCEPTION 'emergency % is not %', p_number, v_needed USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.emergency_acts
        (environment, number, act, actor, actor_key_id, payload_sha256, envelope, signature, stands_over, opened_at,
         ends_at, review_by)
    VALUES (p_environment, p_number, p_act, p_actor, p_key_id, p_payload_sha256, p_envelope, p_signature, p_stands_over,
            p_opened_at, p_ends_at, p_review_by);
END
$$;

-- Log what happened to an emergency as the control plane's own record. Call after evidence_lock_own, in the same transaction.
CREATE FUNCTION symphony.log_emergency(p_seq bigint, p_record bytea, p_recorded_at timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_index bigint;
BEGIN
    v_index := symphony.log_add('controlplane', p_seq, ARRAY[p_record], ARRAY['emergency'], ARRAY[p_recorded_at], '{}', '{}');
    UPDATE symphony.evidence_streams AS s SET last_seq = p_seq, signed_seq = p_seq
    WHERE s.stream = 'controlplane' AND s.last_seq = p_seq - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the control plane''s own stream has another end' USING ERRCODE = '22023';
    END IF;
    RETURN v_index;
END
$$;

REVOKE ALL ON symphony.emergency_releases, symphony.emergency_targets, symphony.emergency_acts FROM PUBLIC;
REVOKE ALL ON FUNCTION
    symphony.propose_emergency(text, bigint, text, bytea, text, text, text, text[], text[], bytea[]),
    symphony.act_on_emergency(text, bigint, text, text, text, text, bytea, text, bigint, timestamptz, timestamptz, timestamptz),
    symphony.log_emergency(bigint, bytea, timestamptz) FROM PUBLIC;
GRANT SELECT ON symphony.emergency_releases, symphony.emergency_targets, symphony.emergency_acts
    TO symphony_control, symphony_control_reader;
GRANT EXECUTE ON FUNCTION
    symphony.propose_emergency(text, bigint, text, bytea, text, text, text, text[], text[], bytea[]),
    symphony.act_on_emergency(text, bigint, text, text, text, text, bytea, text, bigint, timestamptz, timestamptz, timestamptz),
    symphony.log_emergency(bigint, bytea, timestamptz) TO symphony_control;
