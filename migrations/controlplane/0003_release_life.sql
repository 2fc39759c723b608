-- rollback: traffic to the control plane before, which neither reads nor fills these tables; tables and functions stay in place.
-- Withdrawals, freezes of promotion and what was refused to officers (POL-03, POL-04, POL-07): append-only, each with the
-- officer's own signed envelope. A withdrawal itself is an event of release_events, which has the word for it since 0001.

-- A freeze is asked for by one officer and is in force from its own start to its own end, or until it is lifted.
CREATE TABLE symphony.release_freezes (
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    number bigint NOT NULL CHECK (number >= 1),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz CHECK (ends_at > starts_at),
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    actor text NOT NULL,
    actor_key_id text NOT NULL CHECK (actor_key_id ~ '^[0-9a-f]{64}$'),
    envelope bytea NOT NULL CHECK (octet_length(envelope) <= 65536),
    envelope_sha256 text NOT NULL UNIQUE CHECK (envelope_sha256 = encode(sha256(envelope), 'hex')),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, number)
);

-- Officers' signatures to lift a freeze, one a key; the one that reaches the threshold lifts it.
CREATE TABLE symphony.release_unfreezes (
    environment text NOT NULL,
    number bigint NOT NULL,
    actor_key_id text NOT NULL CHECK (actor_key_id ~ '^[0-9a-f]{64}$'),
    actor text NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    envelope bytea NOT NULL CHECK (octet_length(envelope) <= 65536),
    envelope_sha256 text NOT NULL UNIQUE CHECK (envelope_sha256 = encode(sha256(envelope), 'hex')),
    lifts boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, number, actor_key_id),
    FOREIGN KEY (environment, number) REFERENCES symphony.release_freezes (environment, number)
);
CREATE UNIQUE INDEX ux_release_unfreezes_lifted_once ON symphony.release_unfreezes (environment, number) WHERE lifts;

-- What an officer asked for under his own key and was refused, once for each envelope and cause.
CREATE TABLE symphony.release_refusals (
    refusal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    action text NOT NULL CHECK (action ~ '^[a-z]{1,32}$'),
    number bigint NOT NULL,
    reason_code text NOT NULL CHECK (reason_code ~ '^[A-Z][A-Z0-9_]{0,63}$'),
    detail text NOT NULL CHECK (length(detail) <= 300),
    actor text NOT NULL,
    actor_key_id text NOT NULL CHECK (actor_key_id ~ '^[0-9a-f]{64}$'),
    envelope bytea NOT NULL CHECK (octet_length(envelope) <= 65536),
    envelope_sha256 text NOT NULL CHECK (envelope_sha256 = encode(sha256(envelope), 'hex')),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (envelope_sha256, reason_code, detail)
);
CREATE INDEX ix_release_refusals ON symphony.release_refusals (actor_key_id, at);

CREATE TRIGGER trg_release_freezes_append_only BEFORE UPDATE OR DELETE ON symphony.release_freezes
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_freezes_not_truncated BEFORE TRUNCATE ON symphony.release_freezes
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_unfreezes_append_only BEFORE UPDATE OR DELETE ON symphony.release_unfreezes
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_unfreezes_not_truncated BEFORE TRUNCATE ON symphony.release_unfreezes
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_refusals_append_only BEFORE UPDATE OR DELETE ON symphony.release_refusals
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_refusals_not_truncated BEFORE TRUNCATE ON symphony.release_refusals
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- A policy version keeps everything but its status, which only moves forward; a superseded one may be withdrawn too.
CREATE OR REPLACE FUNCTION symphony.guard_policy_version() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF (NEW.policy_version_id, NEW.environment, NEW.number, NEW.checksum, NEW.metadata_digest, NEW.metadata,
        NEW.proposer_key_id, NEW.actor, NEW.reason, NEW.created_at)
       IS DISTINCT FROM
       (OLD.policy_version_id, OLD.environment, OLD.number, OLD.checksum, OLD.metadata_digest, OLD.metadata,
        OLD.proposer_key_id, OLD.actor, OLD.reason, OLD.created_at)
       OR (OLD.activated_at IS NOT NULL AND NEW.activated_at IS DISTINCT FROM OLD.activated_at)
       OR (OLD.status, NEW.status) NOT IN (
           ('PROPOSED', 'APPROVED'), ('APPROVED', 'ACTIVE'), ('ACTIVE', 'SUPERSEDED'),
           ('PROPOSED', 'WITHDRAWN'), ('APPROVED', 'WITHDRAWN'), ('SUPERSEDED', 'WITHDRAWN'))
    THEN
        RAISE EXCEPTION 'a policy version is immutable; % to % refused', OLD.status, NEW.status USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

-- Withdraw a release that is not active: its number is burned. False where it was withdrawn before.
CREATE FUNCTION symphony.withdraw_release(
    p_environment text, p_number bigint, p_actor text, p_key_id text, p_envelope bytea
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_status text;
BEGIN
    PERFORM symphony.lock_repository();
    SELECT v.status INTO v_status FROM symphony.policy_versions AS v
    WHERE v.environment = p_environment AND v.number = p_number FOR UPDATE;
    IF v_status = 'WITHDRAWN' THEN
        RETURN false;
    END IF;
    IF v_status IS NULL OR v_status = 'ACTIVE' THEN
        RAISE EXCEPTION 'release % cannot be withdrawn', p_number USING ERRCODE = 'P0001';
    END IF;
    UPDATE symphony.policy_versions AS v SET status = 'WITHDRAWN'
    WHERE v.environment = p_environment AND v.number = p_number;
    INSERT INTO symphony.release_events (environment, number, event, actor, actor_key_id, envelope)
    VALUES (p_environment, p_number, 'WITHDRAWN', p_actor, p_key_id, p_envelope);
    RETURN true;
END
$$;

-- Freeze promotions; the freeze's number. The same envelope again is the same freeze.
CREATE FUNCTION symphony.freeze_releases(
    p_environment text, p_starts_at timestamptz, p_ends_at timestamptz, p_reason text, p_actor text, p_key_id text,
    p_envelope bytea
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_number bigint;
BEGIN
    PERFORM symphony.lock_repository();
    INSERT INTO symphony.release_freezes
        (environment, number, starts_at, ends_at, reason, actor, actor_key_id, envelope, envelope_sha256)
    SELECT p_environment,
           coalesce((SELECT max(f.number) FROM symphony.release_freezes AS f WHERE f.environment = p_environment), 0) + 1,
           p_starts_at, p_ends_at, p_reason, p_actor, p_key_id, p_envelope, encode(sha256(p_envelope), 'hex')
    ON CONFLICT (envelope_sha256) DO NOTHING RETURNING number INTO v_number;
    RETURN v_number;
END
$$;

-- One officer's signature to lift a freeze; the caller says whether the threshold is reached with it.
CREATE FUNCTION symphony.unfreeze_releases(
    p_environment text, p_number bigint, p_key_id text, p_actor text, p_reason text, p_envelope bytea, p_lifts boolean
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.lock_repository();
    IF EXISTS (SELECT 1 FROM symphony.release_unfreezes AS u
               WHERE u.environment = p_environment AND u.number = p_number AND u.lifts) THEN
        RAISE EXCEPTION 'freeze % is lifted', p_number USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.release_unfreezes
        (environment, number, actor_key_id, actor, reason, envelope, envelope_sha256, lifts)
    VALUES (p_environment, p_number, p_key_id, p_actor, p_reason, p_envelope, encode(sha256(p_envelope), 'hex'), p_lifts);
END
$$;

-- Keep a refusal; false where it is kept already, or its officer has had p_a_day of them within a day.
CREATE FUNCTION symphony.keep_release_refusal(
    p_environment text, p_action text, p_number bigint, p_reason_code text, p_detail text, p_actor text, p_key_id text,
    p_envelope bytea, p_a_day integer
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM symphony.release_refusals AS r
        WHERE r.actor_key_id = p_key_id AND r.at > clock_timestamp() - interval '1 day') >= p_a_day THEN
        RETURN false;
    END IF;
    INSERT INTO symphony.release_refusals
        (environment, action, number, reason_code, detail, actor, actor_key_id, envelope, envelope_sha256)
    VALUES (p_environment, p_action, p_number, p_reason_code, p_detail, p_actor, p_key_id, p_envelope,
            encode(sha256(p_envelope), 'hex'))
    ON CONFLICT (envelope_sha256, reason_code, detail) DO NOTHING;
    RETURN FOUND;
END
$$;

-- Log what happened to a release as the control plane's own record. Call after evidence_lock_own, in the same transaction.
CREATE FUNCTION symphony.log_release_event(p_seq bigint, p_record bytea, p_recorded_at timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_index bigint;
BEGIN
    v_index := symphony.log_add('controlplane', p_seq, ARRAY[p_record], ARRAY['release_event'],
                                ARRAY[p_recorded_at], '{}', '{}');
    UPDATE symphony.evidence_streams AS s SET last_seq = p_seq, signed_seq = p_seq
    WHERE s.stream = 'controlplane' AND s.last_seq = p_seq - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the control plane''s own stream has another end' USING ERRCODE = '22023';
    END IF;
    RETURN v_index;
END
$$;

GRANT SELECT ON symphony.release_freezes, symphony.release_unfreezes, symphony.release_refusals
    TO symphony_control, symphony_control_reader;
GRANT EXECUTE ON FUNCTION
    symphony.withdraw_release(text, bigint, text, text, bytea),
    symphony.freeze_releases(text, timestamptz, timestamptz, text, text, text, bytea),
    symphony.unfreeze_releases(text, bigint, text, text, text, bytea, boolean),
    symphony.keep_release_refusal(text, text, bigint, text, text, text, text, bytea, integer),
    symphony.log_release_event(bigint, bytea, timestamptz)
    TO symphony_control;
