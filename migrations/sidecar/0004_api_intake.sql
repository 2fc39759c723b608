-- The DB API of stations 1 to 4 (REC-03, OUT-19, ATT-14). SECURITY DEFINER, pinned search_path, no dynamic SQL.
-- Errors: SY001 another epoch writes, SY002 the numbers do not follow, SY003 a lease was lost, SY004 no role named.

-- Every call names its role by SET LOCAL ROLE; a call without one raises (ATT-14). current_user is the owner in here.
CREATE FUNCTION symphony.require_role(p_role text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF current_setting('role') IS DISTINCT FROM p_role THEN
        RAISE EXCEPTION 'this call needs SET LOCAL ROLE %', p_role USING ERRCODE = 'SY004';
    END IF;
END
$$;

-- A moment as every face of the system writes it: UTC, six digits (design section 8), whatever the session's settings are.
CREATE FUNCTION symphony.rfc3339(p_at timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Locks the stream's row, checks the epoch, and gives out p_count numbers that begin with p_first_seq.
CREATE FUNCTION symphony.take_numbers(p_stream text, p_epoch bigint, p_first_seq bigint, p_count integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    held symphony.writer_epochs;
BEGIN
    SELECT * INTO held FROM symphony.writer_epochs WHERE stream = p_stream FOR UPDATE;
    IF held.epoch IS DISTINCT FROM p_epoch THEN
        RAISE EXCEPTION 'epoch % of stream % is over', p_epoch, p_stream USING ERRCODE = 'SY001';
    END IF;
    IF held.next_seq <> p_first_seq THEN
        RAISE EXCEPTION 'stream % is at %, not %', p_stream, held.next_seq, p_first_seq USING ERRCODE = 'SY002';
    END IF;
    UPDATE symphony.writer_epochs SET next_seq = p_first_seq + p_count WHERE stream = p_stream;
END
$$;

-- D12, ATT-12: row n takes the n-th number and the n-th evidence, each place once; else the stream would have a gap.
CREATE FUNCTION symphony.require_each_place(p_rows jsonb, p_evidence bytea[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF (jsonb_array_length(p_rows) = cardinality(p_evidence) AND cardinality(p_evidence) = (
        SELECT count(DISTINCT r.n) FROM jsonb_to_recordset(p_rows) AS r(n int) WHERE r.n >= 0 AND r.n < cardinality(p_evidence)))
        IS NOT TRUE
    THEN
        RAISE EXCEPTION 'rows and their evidence do not match' USING ERRCODE = '22023';
    END IF;
END
$$;

-- A writer process begins: a new epoch, which fences every older one. Returns epoch and next number.
CREATE FUNCTION symphony.begin_epoch(p_stream text, OUT epoch bigint, OUT next_seq bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    INSERT INTO symphony.writer_epochs AS w (stream, epoch, next_seq, started_at)
    VALUES (p_stream, 1, 1, clock_timestamp())
    ON CONFLICT (stream) DO UPDATE SET epoch = w.epoch + 1, started_at = clock_timestamp()
    RETURNING w.epoch, w.next_seq INTO begin_epoch.epoch, begin_epoch.next_seq;
END
$$;

-- The numbers as they stand, for a writer that lost its connection in doubt of a commit.
CREATE FUNCTION symphony.current_numbers(p_stream text, OUT epoch bigint, OUT next_seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT w.epoch, w.next_seq FROM symphony.writer_epochs AS w WHERE w.stream = p_stream
$$;

-- Locks what a batch touches and answers everything that judging it needs, in one round trip.
-- p_messages: [{n, jti_hash, jti_day, certificate, token_key, participant, key}]  p_instructions: [{n, i, business_key, participant, currency}]
CREATE FUNCTION symphony.judge_batch(p_stream text, p_epoch bigint, p_timezone text, p_messages jsonb, p_instructions jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    held bigint;
    first_seq bigint;
    today date := (clock_timestamp() AT TIME ZONE p_timezone)::date;
    answer jsonb;
BEGIN
    PERFORM symphony.require_role('symphony_ingest');
    SELECT w.epoch, w.next_seq INTO held, first_seq FROM symphony.writer_epochs AS w WHERE w.stream = p_stream FOR UPDATE;
    IF held IS DISTINCT FROM p_epoch THEN
        RAISE EXCEPTION 'epoch % of stream % is over', p_epoch, p_stream USING ERRCODE = 'SY001';
    END IF;
    SELECT jsonb_build_object(
        'first_seq', first_seq,
        'day', today,
        'now', clock_timestamp(),
        'replayed', (SELECT coalesce(jsonb_agg(m.n), '[]') FROM jsonb_to_recordset(p_messages) AS m(n int, jti_hash text, jti_day date)
            WHERE EXISTS (SELECT 1 FROM symphony.seen_jti AS s WHERE s.expires_day = m.jti_day AND s.jti_hash = m.jti_hash)),
        'revoked', (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(m.n, r.kind)), '[]')
            FROM jsonb_to_recordset(p_messages) AS m(n int, certificate text, token_key text, participant text)
            JOIN symphony.revocations AS r ON (r.kind, r.id) IN
                (('certificate', m.certificate), ('token_key', m.token_key), ('participant', m.participant))
            WHERE r.until IS NULL OR r.until > clock_timestamp()),
        'existing', (SELECT coalesce(jsonb_agg(jsonb_build_object('n', m.n, 'instruction_id', i.instruction_id,
                'attestation_id', i.attestation_id, 'tx_index', i.tx_index, 'decision', i.decision, 'reason_code', i.reason_code,
                'detail', i.detail, 'digest', i.request_body_sha256, 'refs', i.refs, 'message_type', i.message_type,
                'message_id', i.message_id, 'policy_version', i.policy_version, 'policy_checksum', i.policy_checksum,
                'received_at', (SELECT symphony.rfc3339(a.received_at_utc) FROM symphony.ingress_attestations AS a
                    WHERE a.attestation_id = i.attestation_id)) ORDER BY m.n, i.tx_index), '[]')
            FROM jsonb_to_recordset(p_messages) AS m(n int, participant text, key text)
            JOIN symphony.payment_instructions AS i ON i.participant_id = m.participant AND i.idempotency_key = m.key),
        'duplicates', (SELECT coalesce(jsonb_agg(jsonb_build_object('n', m.n, 'i', m.i, 'instruction_id', d.instruction_id,
                'participant', d.participant_id)), '[]')
            FROM jsonb_to_recordset(p_instructions) AS m(n int, i int, business_key text)
            JOIN symphony.payment_instructions AS d ON d.business_key = m.business_key AND d.decision = 'ALLOW'),
        'counters', (SELECT coalesce(jsonb_object_agg(c.participant_id, jsonb_build_array(c.next_sequence_id, c.next_tenant_seq_no)), '{}')
            FROM symphony.participant_outbox_sequences AS c WHERE c.participant_id IN
                (SELECT m.participant FROM jsonb_to_recordset(p_messages) AS m(participant text))),
        'usage', (SELECT coalesce(jsonb_agg(jsonb_build_array(u.participant_id, u.currency, u.value_minor, u.payment_count)), '[]')
            FROM symphony.usage_daily AS u WHERE u.day = today AND (u.participant_id, u.currency) IN
                (SELECT m.participant, m.currency FROM jsonb_to_recordset(p_instructions) AS m(participant text, currency text)))
    ) INTO answer;
    RETURN answer;
END
$$;

-- Records a judged batch: attestations, replay memory, instructions, payloads, outbox, counters, usage. All or nothing.
-- Evidence and payload bytes come as arrays, in the order of their rows; a unique key that is hit rolls the whole batch back.
CREATE FUNCTION symphony.record_batch(
    p_stream text, p_epoch bigint, p_first_seq bigint, p_day date,
    p_attestations jsonb, p_evidence bytea[], p_instructions jsonb, p_raw bytea[], p_inputs bytea[], p_salts bytea[])
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, symphony, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    accepted integer;
BEGIN
    PERFORM symphony.require_role('symphony_ingest');
    PERFORM symphony.require_each_place(p_attestations, p_evidence);
    PERFORM symphony.take_numbers(p_stream, p_epoch, p_first_seq, cardinality(p_evidence));

    -- ATT-13, INV-022: an instruction stands beside its participant's attestation; it is allowed by an accepted one, or not at all.
    IF EXISTS (SELECT 1 FROM jsonb_to_recordset(p_instructions) AS i(message int, attestation_id uuid, participant text, decision text)
        LEFT JOIN jsonb_to_recordset(p_attestations) AS a(n int, attestation_id uuid, tenant text, decision text)
            ON a.n = i.message AND a.attestation_id = i.attestation_id AND a.tenant = i.participant
            AND (a.decision = 'ACCEPT' OR i.decision = 'REFUSED')
        WHERE a.n IS NULL)
    THEN
        RAISE EXCEPTION 'an instruction has no attestation that admits it' USING ERRCODE = '23503';
    END IF;

    INSERT INTO symphony.ingress_attestations
    SELECT a.attestation_id, a.received_at, clock_timestamp(), a.tenant, a.tenant, a.client_id, a.correlation_id, a.jwt_iss, a.jwt_aud,
        a.jwt_kid, a.jti_hash, a.token_hash, a.certificate, a.x5t, a.pop_mode, a.signature_alg, a.body_sha256, a.key,
        a.policy_version, a.policy_checksum, a.decision, a.reason_code, a.tenant_seq_no, 'ingest',
        p_first_seq + a.n, sha256('\x00'::bytea || p_evidence[a.n + 1]), p_evidence[a.n + 1]
    FROM jsonb_to_recordset(p_attestations) AS a(n int, attestation_id uuid, received_at timestamptz, tenant text, client_id text,
        correlation_id text, jwt_iss text, jwt_aud text, jwt_kid text, jti_hash text, token_hash text, certificate text, x5t text,
        pop_mode text, signature_alg text, body_sha256 text, key text, policy_version bigint, policy_checksum text, decision text,
        reason_code text, tenant_seq_no bigint);

    INSERT INTO symphony.seen_jti (expires_day, jti_hash, tenant_id, expires_at_utc)
    SELECT a.jti_day, a.jti_hash, a.jti_tenant, a.jti_expires_at
    FROM jsonb_to_recordset(p_attestations) AS a(spends boolean, jti_day date, jti_hash text, jti_tenant text, jti_expires_at timestamptz)
    WHERE a.spends
    ORDER BY a.jti_day, a.jti_hash;

    INSERT INTO symphony.payment_instructions
    SELECT i.instruction_id, i.attestation_id, sha256('\x00'::bytea || p_evidence[i.message + 1]), i.participant, i.client_id, i.key,
        i.tx_index, i.decision, i.reason_code, i.detail, i.body_sha256, i.business_key, i.sequence_id, i.kind, i.rail, i.message_type,
        i.message_id, i.refs, i.amount_minor, i.currency, i.instructing_agent, i.instructed_agent, i.settlement_date,
        CASE WHEN i.decision = 'ALLOW' THEN p_day END, i.policy_version, i.policy_checksum, clock_timestamp()
    FROM jsonb_to_recordset(p_instructions) AS i(message int, instruction_id uuid, attestation_id uuid, participant text, client_id text,
        key text, tx_index int, decision text, reason_code text, detail text, body_sha256 text, business_key text, sequence_id bigint,
        kind text, rail text, message_type text, message_id text, refs text, amount_minor bigint, currency text, instructing_agent text,
        instructed_agent text, settlement_date date, policy_version bigint, policy_checksum text)
    ORDER BY i.instruction_id;

    INSERT INTO symphony.payloads
    SELECT i.instruction_id, clock_timestamp(), p_raw[i.n + 1], p_inputs[i.n + 1], p_salts[i.n + 1]
    FROM jsonb_to_recordset(p_instructions) AS i(n int, instruction_id uuid);

    INSERT INTO symphony.participant_outbox_sequences AS s (participant_id, next_sequence_id, next_tenant_seq_no)
    SELECT a.tenant, 1 + coalesce(max(q.allowed), 0), 1 + count(*)
    FROM jsonb_to_recordset(p_attestations) AS a(tenant text)
    LEFT JOIN (SELECT i.participant, count(*) AS allowed FROM jsonb_to_recordset(p_instructions) AS i(participant text, decision text)
        WHERE i.decision = 'ALLOW' GROUP BY i.participant) AS q ON q.participant = a.tenant
    WHERE a.tenant IS NOT NULL
    GROUP BY a.tenant
    ORDER BY a.tenant
    ON CONFLICT (participant_id) DO UPDATE SET
        next_sequence_id = s.next_sequence_id + EXCLUDED.next_sequence_id - 1,
        next_tenant_seq_no = s.next_tenant_seq_no + EXCLUDED.next_tenant_seq_no - 1;

    -- D12, REC-10: the numbers in the rows are exactly those that the counters have just given out.
    IF EXISTS (SELECT 1 FROM jsonb_to_recordset(p_attestations) AS a(tenant text, tenant_seq_no bigint)
            JOIN symphony.participant_outbox_sequences AS s ON s.participant_id = a.tenant
            GROUP BY s.participant_id HAVING min(a.tenant_seq_no) <> s.next_tenant_seq_no - count(*)
                OR max(a.tenant_seq_no) <> s.next_tenant_seq_no - 1 OR count(DISTINCT a.tenant_seq_no) <> count(*))
        OR EXISTS (SELECT 1 FROM jsonb_to_recordset(p_instructions) AS i(participant text, sequence_id bigint, decision text)
            JOIN symphony.participant_outbox_sequences AS s ON s.participant_id = i.participant
            WHERE i.decision = 'ALLOW'
            GROUP BY s.participant_id HAVING min(i.sequence_id) <> s.next_sequence_id - count(*)
                OR max(i.sequence_id) <> s.next_sequence_id - 1 OR count(DISTINCT i.sequence_id) <> count(*))
    THEN
        RAISE EXCEPTION 'a participant''s numbers do not follow' USING ERRCODE = 'SY002';
    END IF;

    INSERT INTO symphony.usage_daily AS u (participant_id, currency, day, value_minor, payment_count)
    SELECT i.participant, i.currency, p_day, sum(i.amount_minor), count(*)
    FROM jsonb_to_recordset(p_instructions) AS i(participant text, currency text, decision text, amount_minor bigint)
    WHERE i.decision = 'ALLOW'
    GROUP BY i.participant, i.currency
    ORDER BY i.participant, i.currency
    ON CONFLICT (participant_id, currency, day) DO UPDATE SET
        value_minor = u.value_minor + EXCLUDED.value_minor, payment_count = u.payment_count + EXCLUDED.payment_count;

    -- ATT-13: the outbox row is made from the attestation of the same commit, never without one.
    INSERT INTO symphony.payment_outbox_pending (outbox_id, instruction_id, participant_id, sequence_id, idempotency_key, rail_type,
        payload, amount_minor, next_attempt_at, created_at, parent_attestation_id, attestation_leaf_hash, policy_version)
    SELECT i.instruction_id, i.instruction_id, i.participant, i.sequence_id, i.key, i.rail, i.payload, i.amount_minor,
        clock_timestamp(), clock_timestamp(), i.attestation_id, sha256('\x00'::bytea || p_evidence[i.message + 1]), i.policy_version
    FROM jsonb_to_recordset(p_instructions) AS i(message int, instruction_id uuid, participant text, sequence_id bigint, key text,
        rail text, payload text, amount_minor bigint, attestation_id uuid, policy_version bigint, decision text)
    WHERE i.decision = 'ALLOW'
    ORDER BY i.instruction_id;
    GET DIAGNOSTICS accepted = ROW_COUNT;
    RETURN accepted;
END
$$;

-- OUT-19 and INV-022: the single form of enqueue, for callers that hold a recorded, accepted instruction. Refuses any other.
CREATE FUNCTION symphony.enqueue_payment_outbox(
    p_instruction_id uuid, p_participant_id text, p_idempotency_key text, p_rail_type text, p_payload text, p_parent_attestation_id uuid)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_ingest');
    IF p_parent_attestation_id IS NULL OR NOT EXISTS (
        SELECT 1 FROM symphony.ingress_attestations AS a
        WHERE a.attestation_id = p_parent_attestation_id AND a.decision = 'ACCEPT' AND a.tenant_id = p_participant_id)
    THEN
        RAISE EXCEPTION 'no accepted attestation for this enqueue' USING ERRCODE = '23503';
    END IF;
    INSERT INTO symphony.payment_outbox_pending (outbox_id, instruction_id, participant_id, sequence_id, idempotency_key, rail_type,
        payload, amount_minor, next_attempt_at, created_at, parent_attestation_id, attestation_leaf_hash, policy_version)
    SELECT i.instruction_id, i.instruction_id, i.participant_id, i.sequence_id, i.idempotency_key, p_rail_type, p_payload,
        i.amount_minor, clock_timestamp(), clock_timestamp(), i.attestation_id, i.attestation_leaf_hash, i.policy_version
    FROM symphony.payment_instructions AS i
    WHERE i.instruction_id = p_instruction_id AND i.participant_id = p_participant_id AND i.decision = 'ALLOW'
        AND i.idempotency_key = p_idempotency_key AND i.attestation_id = p_parent_attestation_id
    ON CONFLICT (outbox_id) DO NOTHING;
    -- NEG-08: after the insert, which waits for a claim of the same row; what that claim wrote is seen here.
    IF EXISTS (SELECT 1 FROM symphony.payment_terminals AS t WHERE t.outbox_id = p_instruction_id)
       OR EXISTS (SELECT 1 FROM symphony.parked AS p WHERE p.outbox_id = p_instruction_id)
       OR EXISTS (SELECT 1 FROM symphony.outbox_leases AS l WHERE l.outbox_id = p_instruction_id)
       OR EXISTS (SELECT 1 FROM symphony.payment_outbox_attempts AS x WHERE x.outbox_id = p_instruction_id)
    THEN
        RAISE EXCEPTION 'the payment is under way or ended' USING ERRCODE = '23505';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM symphony.payment_outbox_pending AS o WHERE o.outbox_id = p_instruction_id) THEN
        RAISE EXCEPTION 'no such accepted instruction' USING ERRCODE = '23503';
    END IF;
    RETURN p_instruction_id;
END
$$;

-- D12: one participant's next number, alone; `record_batch` does the same set-based.
CREATE FUNCTION symphony.bump_participant_outbox_seq(p_participant_id text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    taken bigint;
BEGIN
    PERFORM symphony.require_role('symphony_ingest');
    INSERT INTO symphony.participant_outbox_sequences AS s (participant_id, next_sequence_id, next_tenant_seq_no)
    VALUES (p_participant_id, 2, 1)
    ON CONFLICT (participant_id) DO UPDATE SET next_sequence_id = s.next_sequence_id + 1
    RETURNING s.next_sequence_id - 1 INTO taken;
    RETURN taken;
END
$$;

-- The durable highest release (design section 4). A number is accepted once, and only upwards.
CREATE FUNCTION symphony.accept_release(p_number bigint, p_metadata_digest text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM pg_advisory_xact_lock(hashtextextended('symphony.accept_release', 0));
    IF EXISTS (SELECT 1 FROM symphony.accepted_releases AS r WHERE r.number > p_number
            OR (r.number = p_number AND r.metadata_digest <> p_metadata_digest)) THEN
        RAISE EXCEPTION 'release % is not above the highest accepted', p_number USING ERRCODE = 'SY002';
    END IF;
    INSERT INTO symphony.accepted_releases (number, metadata_digest) VALUES (p_number, p_metadata_digest) ON CONFLICT (number) DO NOTHING;
END
$$;

CREATE FUNCTION symphony.highest_release(OUT number bigint, OUT metadata_digest text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT r.number, r.metadata_digest FROM symphony.accepted_releases AS r ORDER BY r.number DESC LIMIT 1
$$;

-- Revocations only grow (SEC-08): an entry that is known stays as it was first received; a later end is an entry of its own.
CREATE FUNCTION symphony.add_revocations(p_list_version bigint, p_entries jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    added integer;
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    INSERT INTO symphony.revocations (kind, id, reason_code, revoked_at, until, list_version)
    SELECT e.kind, e.id, e.reason, e.revoked_at, e.until, p_list_version
    FROM jsonb_to_recordset(p_entries) AS e(kind text, id text, reason text, revoked_at timestamptz, until timestamptz)
    ORDER BY e.kind, e.id
    ON CONFLICT ON CONSTRAINT ux_revocations DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END
$$;

-- Today's usage of some participants, for the acceptor's decision input.
CREATE FUNCTION symphony.usage_today(p_timezone text) RETURNS TABLE (participant_id text, currency text, day date, value_minor bigint, payment_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT u.participant_id, u.currency, u.day, u.value_minor, u.payment_count FROM symphony.usage_daily AS u
    WHERE u.day = (clock_timestamp() AT TIME ZONE p_timezone)::date
    ORDER BY 1, 2 LIMIT 100000
$$;

-- Expired replay memory goes by schedule, live rows never (ATT-08).
CREATE FUNCTION symphony.purge_seen_jti(p_limit integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    gone integer;
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    DELETE FROM symphony.seen_jti AS s USING (
        SELECT x.expires_day, x.jti_hash FROM symphony.seen_jti AS x
        WHERE x.expires_day < (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 AND x.expires_at_utc < clock_timestamp() - interval '1 hour'
        LIMIT p_limit) AS old
    WHERE s.expires_day = old.expires_day AND s.jti_hash = old.jti_hash;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
