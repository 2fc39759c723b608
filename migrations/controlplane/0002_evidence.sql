-- Control plane: evidence intake and the transparency log (EVD-01, EVD-08, D15; design section 9).
-- Writes only by functions (INV-010); append-only by privilege, row trigger and TRUNCATE trigger (D11).
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['symphony_control', 'symphony_control_reader'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            RAISE EXCEPTION 'role % is made by migration 0001', role_name USING ERRCODE = '42704';
        END IF;
    END LOOP;
END
$$;

-- The last word of each stream: what is logged, and the highest number that its sidecar signed for.
CREATE TABLE symphony.evidence_streams (
    stream text PRIMARY KEY CHECK (stream ~ '^[a-zA-Z0-9][a-zA-Z0-9._:-]{0,63}$'),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    last_seq bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),
    last_batch_sha256 text NOT NULL CHECK (last_batch_sha256 ~ '^[0-9a-f]{64}$'),
    signed_seq bigint NOT NULL DEFAULT 0 CHECK (signed_seq >= 0),
    heartbeat_at timestamptz
);

-- Every sealed batch, exactly the bytes that were signed.
CREATE TABLE symphony.evidence_batches (
    stream text NOT NULL,
    first_seq bigint NOT NULL CHECK (first_seq >= 1),
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    epoch bigint NOT NULL,
    key_id text NOT NULL CHECK (key_id ~ '^[0-9a-f]{64}$'),
    first_index bigint NOT NULL UNIQUE CHECK (first_index >= 0),
    body bytea NOT NULL CHECK (octet_length(body) <= 4096),
    signature text NOT NULL CHECK (signature ~ '^[0-9a-f]{128}$'),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, first_seq)
);

-- Signed counters, the first heartbeat for each number: it proves that the number was signed for.
CREATE TABLE symphony.evidence_heartbeats (
    stream text NOT NULL,
    last_seq bigint NOT NULL CHECK (last_seq >= 0),
    body bytea NOT NULL CHECK (octet_length(body) <= 4096),
    signature text NOT NULL CHECK (signature ~ '^[0-9a-f]{128}$'),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, last_seq)
);

-- The log: one leaf a record, its bytes exactly as hashed. The CHECK holds leaf and bytes together for ever.
CREATE TABLE symphony.log_leaves (
    index bigint PRIMARY KEY CHECK (index >= 0),
    leaf_hash bytea NOT NULL,
    stream text NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    kind text NOT NULL,
    recorded_at timestamptz NOT NULL,
    record bytea NOT NULL CHECK (octet_length(record) <= 262144),
    CHECK (leaf_hash = sha256('\x00'::bytea || record)),
    UNIQUE (stream, seq)
);
CREATE INDEX ix_log_leaves_recorded_at ON symphony.log_leaves USING brin (recorded_at) WITH (autosummarize = on);

-- Which leaves speak of which instruction.
CREATE TABLE symphony.log_subjects (
    instruction_id text NOT NULL CHECK (length(instruction_id) BETWEEN 1 AND 64),
    index bigint NOT NULL,
    PRIMARY KEY (instruction_id, index)
);

-- Nodes of levels 8, 16, 24 …: the tops of full tiles (C2SP tlog-tiles). Level 0 is the leaves themselves.
CREATE TABLE symphony.log_nodes (
    level smallint NOT NULL CHECK (level > 0 AND level % 8 = 0),
    index bigint NOT NULL CHECK (index >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, index)
);

-- The right edge of the tree: edge[l + 1] is the pending full subtree of level l, or NULL. One row.
CREATE TABLE symphony.log_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    size bigint NOT NULL CHECK (size >= 0),
    edge bytea[] NOT NULL
);
INSERT INTO symphony.log_head (size, edge) VALUES (0, '{}');

-- Signed checkpoints with the stream counters that each one binds.
CREATE TABLE symphony.log_checkpoints (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    streams text NOT NULL CHECK (octet_length(streams) <= 4194304),
    note text NOT NULL CHECK (octet_length(note) <= 16384),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Each version of each TUF role is a leaf, once.
CREATE TABLE symphony.log_release_metadata (
    role text NOT NULL,
    version bigint NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    index bigint NOT NULL,
    PRIMARY KEY (role, version)
);

CREATE FUNCTION symphony.deny_lowered_stream() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF NEW.stream <> OLD.stream OR NEW.environment <> OLD.environment OR NEW.last_seq < OLD.last_seq
       OR NEW.signed_seq < OLD.signed_seq OR NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'a stream never goes back' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION symphony.deny_shrunk_log() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF NEW.size <= OLD.size THEN
        RAISE EXCEPTION 'the log only grows' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_streams_never_lowered BEFORE UPDATE ON symphony.evidence_streams
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_lowered_stream();
CREATE TRIGGER trg_streams_kept BEFORE DELETE ON symphony.evidence_streams
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_streams_not_truncated BEFORE TRUNCATE ON symphony.evidence_streams
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_head_only_grows BEFORE UPDATE ON symphony.log_head
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_shrunk_log();
CREATE TRIGGER trg_head_kept BEFORE DELETE ON symphony.log_head
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_head_not_truncated BEFORE TRUNCATE ON symphony.log_head
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_batches_append_only BEFORE UPDATE OR DELETE ON symphony.evidence_batches
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_batches_not_truncated BEFORE TRUNCATE ON symphony.evidence_batches
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_heartbeats_append_only BEFORE UPDATE OR DELETE ON symphony.evidence_heartbeats
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_heartbeats_not_truncated BEFORE TRUNCATE ON symphony.evidence_heartbeats
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_leaves_append_only BEFORE UPDATE OR DELETE ON symphony.log_leaves
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_leaves_not_truncated BEFORE TRUNCATE ON symphony.log_leaves
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_subjects_append_only BEFORE UPDATE OR DELETE ON symphony.log_subjects
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_subjects_not_truncated BEFORE TRUNCATE ON symphony.log_subjects
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_nodes_append_only BEFORE UPDATE OR DELETE ON symphony.log_nodes
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_nodes_not_truncated BEFORE TRUNCATE ON symphony.log_nodes
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_checkpoints_append_only BEFORE UPDATE OR DELETE ON symphony.log_checkpoints
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_checkpoints_not_truncated BEFORE TRUNCATE ON symphony.log_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_metadata_append_only BEFORE UPDATE OR DELETE ON symphony.log_release_metadata
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_release_metadata_not_truncated BEFORE TRUNCATE ON symphony.log_release_metadata
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- Grow the tree by leaf hashes under the one lock; gives the index of the first. RFC 6962, O(new leaves + log size).
CREATE FUNCTION symphony.log_extend(p_leaves bytea[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_size bigint;
    v_edge bytea[];
    v_nodes bytea[] := p_leaves;
    v_at bigint;                       -- the index, on this level, of the first of v_nodes
    v_level integer := 0;
BEGIN
    SELECT h.size, h.edge INTO v_size, v_edge FROM symphony.log_head AS h WHERE h.one FOR UPDATE;
    v_at := v_size;
    LOOP
        IF v_level > 0 AND v_level % 8 = 0 AND cardinality(v_nodes) > 0 THEN
            INSERT INTO symphony.log_nodes (level, index, hash)
            SELECT v_level, v_at + n.position - 1, n.hash FROM unnest(v_nodes) WITH ORDINALITY AS n (hash, position);
        END IF;
        IF v_at % 2 = 1 THEN
            v_nodes := array_prepend(v_edge[v_level + 1], v_nodes);
        END IF;
        v_edge[v_level + 1] := CASE WHEN cardinality(v_nodes) % 2 = 1 THEN v_nodes[cardinality(v_nodes)] END;
        v_nodes := ARRAY(
            SELECT sha256('\x01'::bytea || v_nodes[2 * i - 1] || v_nodes[2 * i])
            FROM generate_series(1, cardinality(v_nodes) / 2) AS i ORDER BY i);
        v_at := v_at / 2;
        v_level := v_level + 1;
        EXIT WHEN cardinality(v_nodes) = 0 AND v_at = 0;
    END LOOP;
    UPDATE symphony.log_head AS h SET size = v_size + cardinality(p_leaves), edge = v_edge WHERE h.one;
    RETURN v_size;
END
$$;

-- Put records behind the log's end and note what they speak of.
CREATE FUNCTION symphony.log_add(
    p_stream text, p_first_seq bigint, p_records bytea[], p_kinds text[], p_recorded_at timestamptz[],
    p_subjects text[], p_subject_positions integer[]
) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_leaves bytea[];
    v_first bigint;
BEGIN
    v_leaves := ARRAY(SELECT sha256('\x00'::bytea || r.record)
                      FROM unnest(p_records) WITH ORDINALITY AS r (record, position) ORDER BY r.position);
    v_first := symphony.log_extend(v_leaves);
    INSERT INTO symphony.log_leaves (index, leaf_hash, stream, seq, kind, recorded_at, record)
    SELECT v_first + n.position - 1, n.leaf, p_stream, p_first_seq + n.position - 1, n.kind, n.at, n.record
    FROM unnest(v_leaves, p_records, p_kinds, p_recorded_at)
        WITH ORDINALITY AS n (leaf, record, kind, at, position);
    INSERT INTO symphony.log_subjects (instruction_id, index)
    SELECT DISTINCT n.subject, v_first + n.place FROM unnest(p_subjects, p_subject_positions) AS n (subject, place);
    RETURN v_first;
END
$$;

-- Take a sealed batch whose signature and root the caller has verified. The stream's row is the lock; outcome is
-- appended | repeated | gap | forked. A repeat is the same signed bytes over a range that is there.
CREATE FUNCTION symphony.evidence_append(
    p_stream text, p_environment text, p_epoch bigint, p_first bigint, p_last bigint, p_previous text, p_key_id text,
    p_body bytea, p_signature text, p_records bytea[], p_kinds text[], p_recorded_at timestamptz[],
    p_subjects text[], p_subject_positions integer[],
    OUT outcome text, OUT last_seq bigint, OUT first_index bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_stream symphony.evidence_streams%ROWTYPE;
BEGIN
    IF p_stream = 'controlplane' OR cardinality(p_records) <> p_last - p_first + 1 THEN
        RAISE EXCEPTION 'not a batch of a sidecar''s stream' USING ERRCODE = '22023';
    END IF;
    INSERT INTO symphony.evidence_streams (stream, environment, last_batch_sha256)
    VALUES (p_stream, p_environment, repeat('0', 64)) ON CONFLICT (stream) DO NOTHING;
    SELECT * INTO v_stream FROM symphony.evidence_streams AS s WHERE s.stream = p_stream FOR UPDATE;
    last_seq := v_stream.last_seq;
    IF p_first > v_stream.last_seq + 1 THEN
        outcome := 'gap';
    ELSIF p_first <= v_stream.last_seq THEN
        SELECT b.first_index INTO first_index FROM symphony.evidence_batches AS b
        WHERE b.stream = p_stream AND b.first_seq = p_first AND b.body = p_body;
        outcome := CASE WHEN FOUND THEN 'repeated' ELSE 'forked' END;
    ELSIF p_previous <> v_stream.last_batch_sha256 OR p_epoch < v_stream.epoch
          OR p_environment <> v_stream.environment THEN
        outcome := 'forked';
    ELSE
        first_index := symphony.log_add(
            p_stream, p_first, p_records, p_kinds, p_recorded_at, p_subjects, p_subject_positions);
        INSERT INTO symphony.evidence_batches
            (stream, first_seq, last_seq, epoch, key_id, first_index, body, signature)
        VALUES (p_stream, p_first, p_last, p_epoch, p_key_id, first_index, p_body, p_signature);
        UPDATE symphony.evidence_streams AS s
        SET last_seq = p_last, epoch = p_epoch, last_batch_sha256 = encode(sha256(p_body), 'hex')
        WHERE s.stream = p_stream;
        outcome := 'appended';
        last_seq := p_last;
    END IF;
END
$$;

-- Keep a signed counter; gives what is logged of the stream.
CREATE FUNCTION symphony.evidence_heartbeat(
    p_stream text, p_environment text, p_last bigint, p_body bytea, p_signature text
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_logged bigint;
BEGIN
    IF p_stream = 'controlplane' THEN
        RAISE EXCEPTION 'not a sidecar''s stream' USING ERRCODE = '22023';
    END IF;
    INSERT INTO symphony.evidence_heartbeats (stream, last_seq, body, signature)
    VALUES (p_stream, p_last, p_body, p_signature) ON CONFLICT (stream, last_seq) DO NOTHING;
    INSERT INTO symphony.evidence_streams AS s (stream, environment, last_batch_sha256, signed_seq, heartbeat_at)
    VALUES (p_stream, p_environment, repeat('0', 64), p_last, clock_timestamp())
    ON CONFLICT (stream) DO UPDATE
    SET signed_seq = greatest(s.signed_seq, excluded.signed_seq), heartbeat_at = excluded.heartbeat_at
    RETURNING s.last_seq INTO v_logged;
    RETURN v_logged;
END
$$;

-- The number of the control plane's own next record; holds its stream until the transaction ends.
CREATE FUNCTION symphony.evidence_lock_own(p_environment text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_last bigint;
BEGIN
    INSERT INTO symphony.evidence_streams (stream, environment, last_batch_sha256)
    VALUES ('controlplane', p_environment, repeat('0', 64)) ON CONFLICT (stream) DO NOTHING;
    SELECT s.last_seq INTO v_last FROM symphony.evidence_streams AS s WHERE s.stream = 'controlplane' FOR UPDATE;
    RETURN v_last + 1;
END
$$;

-- Log one version of a TUF role as the control plane's own record. Call after evidence_lock_own.
CREATE FUNCTION symphony.log_role_version(
    p_role text, p_version bigint, p_sha256 text, p_seq bigint, p_record bytea, p_recorded_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_index bigint;
BEGIN
    v_index := symphony.log_add('controlplane', p_seq, ARRAY[p_record], ARRAY['release_metadata'],
                                ARRAY[p_recorded_at], '{}', '{}');
    INSERT INTO symphony.log_release_metadata (role, version, sha256, index)
    VALUES (p_role, p_version, p_sha256, v_index);
    UPDATE symphony.evidence_streams AS s SET last_seq = p_seq, signed_seq = p_seq
    WHERE s.stream = 'controlplane' AND s.last_seq = p_seq - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the control plane''s own stream has another end' USING ERRCODE = '22023';
    END IF;
    RETURN v_index;
END
$$;

-- Keep a signed checkpoint; sizes never fall.
CREATE FUNCTION symphony.log_add_checkpoint(p_size bigint, p_root bytea, p_streams text, p_note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1937337968, 2);
    IF p_size < coalesce((SELECT c.size FROM symphony.log_checkpoints AS c ORDER BY c.number DESC LIMIT 1), 0) THEN
        RAISE EXCEPTION 'a newer checkpoint was made' USING ERRCODE = '40001';
    END IF;
    INSERT INTO symphony.log_checkpoints (size, root, streams, note) VALUES (p_size, p_root, p_streams, p_note);
END
$$;

REVOKE ALL ON FUNCTION symphony.log_extend(bytea[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION symphony.log_add(text, bigint, bytea[], text[], timestamptz[], text[], integer[]) FROM PUBLIC;
GRANT SELECT ON symphony.evidence_streams, symphony.evidence_batches, symphony.evidence_heartbeats,
    symphony.log_leaves, symphony.log_subjects, symphony.log_nodes, symphony.log_head, symphony.log_checkpoints,
    symphony.log_release_metadata TO symphony_control, symphony_control_reader;
GRANT EXECUTE ON FUNCTION
    symphony.evidence_append(text, text, bigint, bigint, bigint, text, text, bytea, text, bytea[], text[],
                             timestamptz[], text[], integer[]),
    symphony.evidence_heartbeat(text, text, bigint, bytea, text),
    symphony.evidence_lock_own(text),
    symphony.log_role_version(text, bigint, text, bigint, bytea, timestamptz),
    symphony.log_add_checkpoint(bigint, bytea, text, text)
    TO symphony_control;
