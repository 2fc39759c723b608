-- Control plane: releases as TUF metadata, their history, who may ask, and what each sidecar runs.
-- Roles are NOLOGIN templates (INV-007, SEC-02); deny by default (INV-005, INV-006); writes only by functions (INV-010).
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'symphony_control') THEN
        CREATE ROLE symphony_control NOLOGIN NOINHERIT;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'symphony_control_reader') THEN
        CREATE ROLE symphony_control_reader NOLOGIN NOINHERIT;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of the cluster made it at the same time
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA symphony;
REVOKE ALL ON SCHEMA symphony FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA symphony TO symphony_control, symphony_control_reader;

-- Who a client certificate is. Access only: what a sidecar trusts are signatures, never this table.
CREATE TABLE symphony.principals (
    certificate_sha256 text PRIMARY KEY CHECK (certificate_sha256 ~ '^[0-9a-f]{64}$'),
    kind text NOT NULL CHECK (kind IN ('officer', 'security_officer', 'custodian', 'service', 'operator')),
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9-]{0,62}$'),
    key_id text CHECK (key_id ~ '^[0-9a-f]{64}$'),
    enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (kind NOT IN ('officer', 'security_officer') OR key_id IS NOT NULL)
);

-- Every version of every TUF role, exactly the bytes that were signed.
CREATE TABLE symphony.tuf_metadata (
    role text NOT NULL CHECK (role ~ '^[a-z][a-z0-9-]{0,62}$'),
    version bigint NOT NULL CHECK (version >= 1),
    content bytea NOT NULL CHECK (octet_length(content) <= 5000000),
    sha256 text NOT NULL CHECK (sha256 = encode(sha256(content), 'hex')),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (role, version)
);

-- Target bytes by digest; releases share them.
CREATE TABLE symphony.tuf_targets (
    sha256 text PRIMARY KEY CHECK (sha256 = encode(sha256(content), 'hex')),
    content bytea NOT NULL CHECK (octet_length(content) <= 16777216),
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per release (POL-02). The role version N is release N. Activation is a fact of this table (POL-04, D5).
CREATE TABLE symphony.policy_versions (
    policy_version_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    number bigint NOT NULL CHECK (number >= 1),
    status text NOT NULL CHECK (status IN ('PROPOSED', 'APPROVED', 'ACTIVE', 'SUPERSEDED', 'WITHDRAWN')),
    is_active boolean NOT NULL DEFAULT false,
    checksum text NOT NULL CHECK (checksum ~ '^[0-9a-f]{64}$'),
    metadata_digest text NOT NULL CHECK (metadata_digest ~ '^[0-9a-f]{64}$'),
    metadata bytea NOT NULL CHECK (octet_length(metadata) <= 5000000),
    proposer_key_id text NOT NULL CHECK (proposer_key_id ~ '^[0-9a-f]{64}$'),
    actor text NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    activated_at timestamptz,
    UNIQUE (environment, number),
    CHECK (is_active = (status = 'ACTIVE'))
);
CREATE UNIQUE INDEX ux_policy_versions_one_active ON symphony.policy_versions (environment) WHERE is_active;  -- POL-03

-- The targets of a release by path.
CREATE TABLE symphony.release_targets (
    environment text NOT NULL,
    number bigint NOT NULL,
    path text NOT NULL CHECK (length(path) BETWEEN 1 AND 200),
    sha256 text NOT NULL REFERENCES symphony.tuf_targets (sha256),
    PRIMARY KEY (environment, number, path),
    FOREIGN KEY (environment, number) REFERENCES symphony.policy_versions (environment, number)
);

-- Officers' signatures over a release's role, one a key.
CREATE TABLE symphony.release_approvals (
    environment text NOT NULL,
    number bigint NOT NULL,
    key_id text NOT NULL CHECK (key_id ~ '^[0-9a-f]{64}$'),
    signature text NOT NULL CHECK (signature ~ '^[0-9a-f]{128}$'),
    actor text NOT NULL,
    approved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (environment, number, key_id),
    FOREIGN KEY (environment, number) REFERENCES symphony.policy_versions (environment, number)
);

-- What was asked, by whom, with the officer's own signed envelope (POL-07). Append-only: the history of every release.
CREATE TABLE symphony.release_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    number bigint NOT NULL,
    event text NOT NULL CHECK (event IN ('PROPOSED', 'APPROVAL', 'APPROVED', 'ACTIVE', 'SUPERSEDED', 'WITHDRAWN')),
    actor text NOT NULL,
    actor_key_id text,
    envelope bytea,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_release_events ON symphony.release_events (environment, number, event_id);

-- What each service instance says that it runs: the last word, and every change of it.
CREATE TABLE symphony.fleet_status (
    environment text NOT NULL,
    service text NOT NULL,
    instance text NOT NULL,
    active_number bigint,
    active_digest text,
    refused_number bigint,
    refused_code text,
    ready boolean NOT NULL,
    mode text NOT NULL,
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (environment, service, instance)
);
CREATE TABLE symphony.fleet_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment text NOT NULL,
    service text NOT NULL,
    instance text NOT NULL,
    active_number bigint,
    active_digest text,
    refused_number bigint,
    refused_code text,
    ready boolean NOT NULL,
    mode text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Append-only by row trigger and TRUNCATE trigger, besides by privilege (D11).
CREATE FUNCTION symphony.deny_mutation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '42501';
END
$$;

-- A policy version keeps everything but its status, and that only moves forward.
CREATE FUNCTION symphony.guard_policy_version() RETURNS trigger
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
           ('PROPOSED', 'WITHDRAWN'), ('APPROVED', 'WITHDRAWN'))
    THEN
        RAISE EXCEPTION 'a policy version is immutable; % to % refused', OLD.status, NEW.status USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_policy_versions_guarded BEFORE UPDATE ON symphony.policy_versions
    FOR EACH ROW EXECUTE FUNCTION symphony.guard_policy_version();
CREATE TRIGGER trg_policy_versions_kept BEFORE DELETE ON symphony.policy_versions
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_policy_versions_not_truncated BEFORE TRUNCATE ON symphony.policy_versions
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_principals_append_only BEFORE UPDATE OR DELETE ON symphony.principals
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_principals_not_truncated BEFORE TRUNCATE ON symphony.principals
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_tuf_metadata_append_only BEFORE UPDATE OR DELETE ON symphony.tuf_metadata
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_tuf_metadata_not_truncated BEFORE TRUNCATE ON symphony.tuf_metadata
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_tuf_targets_append_only BEFORE UPDATE OR DELETE ON symphony.tuf_targets
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_tuf_targets_not_truncated BEFORE TRUNCATE ON symphony.tuf_targets
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_targets_append_only BEFORE UPDATE OR DELETE ON symphony.release_targets
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_targets_not_truncated BEFORE TRUNCATE ON symphony.release_targets
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_approvals_append_only BEFORE UPDATE OR DELETE ON symphony.release_approvals
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_approvals_not_truncated BEFORE TRUNCATE ON symphony.release_approvals
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_events_append_only BEFORE UPDATE OR DELETE ON symphony.release_events
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_events_not_truncated BEFORE TRUNCATE ON symphony.release_events
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_fleet_events_append_only BEFORE UPDATE OR DELETE ON symphony.fleet_events
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_fleet_events_not_truncated BEFORE TRUNCATE ON symphony.fleet_events
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- Enrol a certificate; the same again is no error, another meaning for it is (23505).
CREATE FUNCTION symphony.enrol_principal(p_sha256 text, p_kind text, p_name text, p_key_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM symphony.principals AS p
               WHERE p.certificate_sha256 = p_sha256 AND p.kind = p_kind AND p.name = p_name
                 AND p.key_id IS NOT DISTINCT FROM p_key_id) THEN
        RETURN;
    END IF;
    INSERT INTO symphony.principals (certificate_sha256, kind, name, key_id)
    VALUES (p_sha256, p_kind, p_name, p_key_id);
END
$$;

-- One publication at a time: snapshot and timestamp versions follow each other without a gap.
CREATE FUNCTION symphony.lock_repository() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT pg_catalog.pg_advisory_xact_lock(1937337968, 1);
$$;

-- Publish signed role files; versions only rise.
CREATE FUNCTION symphony.publish_metadata(p_roles text[], p_versions bigint[], p_files bytea[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.lock_repository();
    IF EXISTS (
        SELECT 1 FROM unnest(p_roles, p_versions) AS n (role, version)
        JOIN symphony.tuf_metadata AS m ON m.role = n.role AND m.version >= n.version
    ) THEN
        RAISE EXCEPTION 'a role version only rises' USING ERRCODE = '23505';
    END IF;
    INSERT INTO symphony.tuf_metadata (role, version, content, sha256)
    SELECT n.role, n.version, n.content, encode(sha256(n.content), 'hex')
    FROM unnest(p_roles, p_versions, p_files) AS n (role, version, content);
END
$$;

-- Record a proposal with its target bytes (POL-02, POL-07). The number must follow the highest one.
CREATE FUNCTION symphony.record_proposal(
    p_environment text, p_number bigint, p_checksum text, p_metadata_digest text, p_metadata bytea,
    p_key_id text, p_actor text, p_reason text, p_envelope bytea,
    p_paths text[], p_digests text[], p_contents bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.lock_repository();
    IF p_number <> coalesce((SELECT max(v.number) FROM symphony.policy_versions AS v
                             WHERE v.environment = p_environment), 0) + 1 THEN
        RAISE EXCEPTION 'release % does not follow the highest number', p_number USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.tuf_targets (sha256, content)
    SELECT DISTINCT ON (n.sha256) n.sha256, n.content FROM unnest(p_digests, p_contents) AS n (sha256, content)
    ORDER BY n.sha256
    ON CONFLICT (sha256) DO NOTHING;
    INSERT INTO symphony.policy_versions
        (environment, number, status, checksum, metadata_digest, metadata, proposer_key_id, actor, reason)
    VALUES (p_environment, p_number, 'PROPOSED', p_checksum, p_metadata_digest, p_metadata, p_key_id, p_actor, p_reason);
    INSERT INTO symphony.release_targets (environment, number, path, sha256)
    SELECT p_environment, p_number, n.path, n.sha256 FROM unnest(p_paths, p_digests) AS n (path, sha256);
    INSERT INTO symphony.release_events (environment, number, event, actor, actor_key_id, envelope)
    VALUES (p_environment, p_number, 'PROPOSED', p_actor, p_key_id, p_envelope);
END
$$;

-- Record one approval; the caller says whether the threshold is reached with it.
CREATE FUNCTION symphony.record_approval(
    p_environment text, p_number bigint, p_key_id text, p_signature text, p_actor text, p_envelope bytea,
    p_reached boolean
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_status text;
BEGIN
    SELECT v.status INTO v_status FROM symphony.policy_versions AS v
    WHERE v.environment = p_environment AND v.number = p_number FOR UPDATE;
    IF v_status IS NULL OR v_status NOT IN ('PROPOSED', 'APPROVED') THEN
        RAISE EXCEPTION 'release % takes no approval', p_number USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.release_approvals (environment, number, key_id, signature, actor)
    VALUES (p_environment, p_number, p_key_id, p_signature, p_actor);
    INSERT INTO symphony.release_events (environment, number, event, actor, actor_key_id, envelope)
    VALUES (p_environment, p_number, 'APPROVAL', p_actor, p_key_id, p_envelope);
    IF p_reached AND v_status = 'PROPOSED' THEN
        UPDATE symphony.policy_versions AS v SET status = 'APPROVED'
        WHERE v.environment = p_environment AND v.number = p_number;
        INSERT INTO symphony.release_events (environment, number, event, actor)
        VALUES (p_environment, p_number, 'APPROVED', p_actor);
    END IF;
END
$$;

-- Activation: a verifiable database fact, with its metadata, in one transaction (POL-03, POL-04, D5).
CREATE FUNCTION symphony.activate_release(
    p_environment text, p_number bigint, p_actor text, p_key_id text, p_envelope bytea,
    p_roles text[], p_versions bigint[], p_files bytea[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_before bigint;
BEGIN
    PERFORM symphony.publish_metadata(p_roles, p_versions, p_files);
    SELECT v.number INTO v_before FROM symphony.policy_versions AS v
    WHERE v.environment = p_environment AND v.is_active FOR UPDATE;
    IF v_before >= p_number THEN
        RAISE EXCEPTION 'release % is not above the active one', p_number USING ERRCODE = 'P0001';
    END IF;
    UPDATE symphony.policy_versions AS v SET status = 'SUPERSEDED', is_active = false
    WHERE v.environment = p_environment AND v.number = v_before;
    UPDATE symphony.policy_versions AS v SET status = 'ACTIVE', is_active = true, activated_at = clock_timestamp()
    WHERE v.environment = p_environment AND v.number = p_number AND v.status = 'APPROVED';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'release % is not approved', p_number USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.release_events (environment, number, event, actor, actor_key_id, envelope)
    SELECT p_environment, v_before, 'SUPERSEDED', p_actor, p_key_id, NULL WHERE v_before IS NOT NULL
    UNION ALL
    SELECT p_environment, p_number, 'ACTIVE', p_actor, p_key_id, p_envelope;
END
$$;

-- A service instance says what it runs; a change is kept for ever, the rest only as the last word.
CREATE FUNCTION symphony.report_status(
    p_environment text, p_service text, p_instance text, p_active_number bigint, p_active_digest text,
    p_refused_number bigint, p_refused_code text, p_ready boolean, p_mode text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    INSERT INTO symphony.fleet_events (environment, service, instance, active_number, active_digest,
                                       refused_number, refused_code, ready, mode)
    SELECT p_environment, p_service, p_instance, p_active_number, p_active_digest,
           p_refused_number, p_refused_code, p_ready, p_mode
    WHERE NOT EXISTS (
        SELECT 1 FROM symphony.fleet_status AS s
        WHERE (s.environment, s.service, s.instance) = (p_environment, p_service, p_instance)
          AND (s.active_number, s.active_digest, s.refused_number, s.refused_code, s.ready, s.mode)
              IS NOT DISTINCT FROM
              (p_active_number, p_active_digest, p_refused_number, p_refused_code, p_ready, p_mode));
    INSERT INTO symphony.fleet_status AS s (environment, service, instance, active_number, active_digest,
                                            refused_number, refused_code, ready, mode, last_seen)
    VALUES (p_environment, p_service, p_instance, p_active_number, p_active_digest,
            p_refused_number, p_refused_code, p_ready, p_mode, clock_timestamp())
    ON CONFLICT (environment, service, instance) DO UPDATE
    SET active_number = excluded.active_number, active_digest = excluded.active_digest,
        refused_number = excluded.refused_number, refused_code = excluded.refused_code,
        ready = excluded.ready, mode = excluded.mode, last_seen = excluded.last_seen;
END
$$;

GRANT SELECT ON symphony.principals, symphony.tuf_metadata, symphony.tuf_targets, symphony.policy_versions,
    symphony.release_targets, symphony.release_approvals, symphony.release_events, symphony.fleet_status,
    symphony.fleet_events TO symphony_control, symphony_control_reader;
GRANT EXECUTE ON FUNCTION
    symphony.enrol_principal(text, text, text, text),
    symphony.lock_repository(),
    symphony.publish_metadata(text[], bigint[], bytea[]),
    symphony.record_proposal(text, bigint, text, text, bytea, text, text, text, bytea, text[], text[], bytea[]),
    symphony.record_approval(text, bigint, text, text, text, bytea, boolean),
    symphony.activate_release(text, bigint, text, text, bytea, text[], bigint[], bytea[]),
    symphony.report_status(text, text, text, bigint, text, bigint, text, boolean, text)
    TO symphony_control;
