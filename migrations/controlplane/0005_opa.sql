-- rollback: traffic to the release before, which does not know these tables; they stay in place.
-- What stock OPA servers report (design sections 8 and 12): the last word of each server, every change of it, and each decision
-- as counts and digests. No input and no result is kept. All but the last word is append-only (INV-029).
CREATE TABLE symphony.opa_status (
    service text NOT NULL CHECK (service ~ '^[a-z][a-z0-9-]{0,62}$'),
    instance text NOT NULL CHECK (instance ~ '^[A-Za-z0-9._-]{1,64}$'),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    version text NOT NULL CHECK (length(version) <= 64),
    active_revision text CHECK (length(active_revision) <= 128),
    activated_at timestamptz,
    bundle_code text CHECK (length(bundle_code) <= 64),
    bundle_message text CHECK (length(bundle_message) <= 300),
    decision_log_code text CHECK (length(decision_log_code) <= 64),
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (service, instance)
);
CREATE TABLE symphony.opa_status_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    instance text NOT NULL,
    environment text NOT NULL,
    version text NOT NULL,
    active_revision text,
    bundle_code text,
    decision_log_code text,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_opa_status_events ON symphony.opa_status_events (service, at);

-- One row per upload of a decision log: what the bound on the rate counts.
CREATE TABLE symphony.opa_uploads (
    upload_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL CHECK (service ~ '^[a-z][a-z0-9-]{0,62}$'),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    decisions integer NOT NULL CHECK (decisions >= 1),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_opa_uploads ON symphony.opa_uploads (service, at);
CREATE TABLE symphony.opa_decisions (
    service text NOT NULL,
    decision_id text NOT NULL CHECK (decision_id ~ '^[A-Za-z0-9._-]{1,64}$'),
    upload_id bigint NOT NULL REFERENCES symphony.opa_uploads (upload_id),
    instance text NOT NULL CHECK (instance ~ '^[A-Za-z0-9._-]{1,64}$'),
    path text NOT NULL CHECK (length(path) <= 200),
    revision text CHECK (length(revision) <= 128),
    input_sha256 text CHECK (input_sha256 ~ '^[0-9a-f]{64}$'),
    input_masked boolean NOT NULL,
    allowed integer NOT NULL CHECK (allowed >= 0),
    denied integer NOT NULL CHECK (denied >= 0),
    failed boolean NOT NULL,
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (service, decision_id)
);
CREATE INDEX ix_opa_decisions ON symphony.opa_decisions (service, upload_id);

CREATE TRIGGER trg_opa_status_events_append_only BEFORE UPDATE OR DELETE ON symphony.opa_status_events
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_opa_status_events_not_truncated BEFORE TRUNCATE ON symphony.opa_status_events
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_opa_uploads_append_only BEFORE UPDATE OR DELETE ON symphony.opa_uploads
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_opa_uploads_not_truncated BEFORE TRUNCATE ON symphony.opa_uploads
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_opa_decisions_append_only BEFORE UPDATE OR DELETE ON symphony.opa_decisions
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_opa_decisions_not_truncated BEFORE TRUNCATE ON symphony.opa_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- Keep a server's status; a change of it is an event. A server has a new id after each start, so those silent for a week go.
-- More than p_changes_max changes of a service in an hour are not taken (P0001).
CREATE FUNCTION symphony.report_opa_status(
    p_service text, p_instance text, p_environment text, p_version text, p_active_revision text,
    p_activated_at timestamptz, p_bundle_code text, p_bundle_message text, p_decision_log_code text, p_changes_max integer
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1937337969, hashtext(p_service));
    IF NOT EXISTS (
        SELECT 1 FROM symphony.opa_status AS s WHERE s.service = p_service AND s.instance = p_instance
        AND (s.environment, s.version, s.active_revision, s.bundle_code, s.decision_log_code)
            IS NOT DISTINCT FROM (p_environment, p_version, p_active_revision, p_bundle_code, p_decision_log_code)
    ) THEN
        IF (SELECT count(*) FROM symphony.opa_status_events AS e
            WHERE e.service = p_service AND e.at > clock_timestamp() - interval '1 hour') >= p_changes_max THEN
            RAISE EXCEPTION 'over % changes of status in an hour', p_changes_max USING ERRCODE = 'P0001';
        END IF;
        DELETE FROM symphony.opa_status AS s
        WHERE s.service = p_service AND s.last_seen < clock_timestamp() - interval '7 days';
        INSERT INTO symphony.opa_status_events
            (service, instance, environment, version, active_revision, bundle_code, decision_log_code)
        VALUES (p_service, p_instance, p_environment, p_version, p_active_revision, p_bundle_code, p_decision_log_code);
    END IF;
    INSERT INTO symphony.opa_status AS s
        (service, instance, environment, version, active_revision, activated_at, bundle_code, bundle_message,
         decision_log_code, last_seen)
    VALUES (p_service, p_instance, p_environment, p_version, p_active_revision, p_activated_at, p_bundle_code,
            p_bundle_message, p_decision_log_code, clock_timestamp())
    ON CONFLICT (service, instance) DO UPDATE SET environment = excluded.environment, version = excluded.version,
        active_revision = excluded.active_revision, activated_at = excluded.activated_at,
        bundle_code = excluded.bundle_code, bundle_message = excluded.bundle_message,
        decision_log_code = excluded.decision_log_code, last_seen = excluded.last_seen;
END
$$;

-- Keep one upload of a decision log; a decision that is there already stays as it is (an OPA sends again what was not answered).
-- More than p_decisions_max decisions of a service in a minute are not taken (P0001). Gives how many are new.
CREATE FUNCTION symphony.record_opa_decisions(
    p_service text, p_environment text, p_decisions_max integer, p_ids text[], p_instances text[], p_paths text[],
    p_revisions text[], p_digests text[], p_masked boolean[], p_allowed integer[], p_denied integer[], p_failed boolean[],
    p_decided_at timestamptz[]
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_upload bigint;
    v_new integer;
BEGIN
    PERFORM pg_advisory_xact_lock(1937337969, hashtext(p_service));
    IF cardinality(p_ids) + coalesce((SELECT sum(u.decisions) FROM symphony.opa_uploads AS u
            WHERE u.service = p_service AND u.at > clock_timestamp() - interval '1 minute'), 0) > p_decisions_max THEN
        RAISE EXCEPTION 'over % decisions in a minute', p_decisions_max USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.opa_uploads (service, environment, decisions)
    VALUES (p_service, p_environment, cardinality(p_ids)) RETURNING upload_id INTO v_upload;
    INSERT INTO symphony.opa_decisions
        (service, decision_id, upload_id, instance, path, revision, input_sha256, input_masked, allowed, denied, failed,
         decided_at)
    SELECT p_service, n.id, v_upload, n.instance, n.path, n.revision, n.digest, n.masked, n.allowed, n.denied, n.failed,
        n.decided_at
    FROM unnest(p_ids, p_instances, p_paths, p_revisions, p_digests, p_masked, p_allowed, p_denied, p_failed, p_decided_at)
        AS n (id, instance, path, revision, digest, masked, allowed, denied, failed, decided_at)
    ON CONFLICT (service, decision_id) DO NOTHING;
    GET DIAGNOSTICS v_new = ROW_COUNT;
    RETURN v_new;
END
$$;

GRANT SELECT ON symphony.opa_status, symphony.opa_status_events, symphony.opa_uploads, symphony.opa_decisions
    TO symphony_control, symphony_control_reader;
GRANT EXECUTE ON FUNCTION
    symphony.report_opa_status(text, text, text, text, text, timestamptz, text, text, text, integer),
    symphony.record_opa_decisions(text, text, integer, text[], text[], text[], text[], text[], boolean[], integer[],
                                  integer[], boolean[], timestamptz[])
    TO symphony_control;
