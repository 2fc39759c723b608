-- The DB API of stations 5 to 7: claim, attempts, outcomes, recovery (OUT-06 to OUT-11, INV-012, INV-013).

-- Due rows, set-based, skipping locked ones; delete, lease. No lock is held when the caller talks to a rail (OUT-16).
-- p_value_max bounds the money of one batch: rows are taken in order while their sum stays within it, one at least.
-- p_in_flight says how many payments of whom the worker has under way; with them nobody has more than p_participant_max (BAT-05).
CREATE FUNCTION symphony.claim_outbox_batch(
    p_stream text, p_epoch bigint, p_worker text, p_limit integer, p_participant_max integer, p_value_max bigint, p_lease_ms integer,
    p_in_flight jsonb DEFAULT '{}')
RETURNS TABLE (outbox_id uuid, participant_id text, sequence_id bigint, idempotency_key text, rail_type text, payload text,
    attempt_no integer, parent_attestation_id uuid, attestation_leaf_hash bytea, policy_version bigint, lease_token uuid,
    claimed_at timestamptz, waited_us bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM 1 FROM symphony.writer_epochs AS w WHERE w.stream = p_stream AND w.epoch = p_epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % of stream % is over', p_epoch, p_stream USING ERRCODE = 'SY001';
    END IF;
    RETURN QUERY
    WITH due AS (
        SELECT o.* FROM symphony.payment_outbox_pending AS o
        WHERE o.next_attempt_at <= clock_timestamp()
          AND NOT EXISTS (SELECT 1 FROM symphony.payment_terminals AS t WHERE t.outbox_id = o.outbox_id)  -- OUT-09
          AND NOT EXISTS (SELECT 1 FROM symphony.parked AS k WHERE k.outbox_id = o.outbox_id)
          AND coalesce((p_in_flight ->> o.participant_id)::integer, 0) < p_participant_max
        ORDER BY o.next_attempt_at, o.created_at
        LIMIT p_limit
        FOR UPDATE OF o SKIP LOCKED
    ), bounded AS (
        SELECT d.*, sum(d.amount_minor) OVER w AS total, row_number() OVER w AS n,
            row_number() OVER (PARTITION BY d.participant_id ORDER BY d.next_attempt_at, d.created_at, d.outbox_id) AS of_participant
        FROM due AS d WINDOW w AS (ORDER BY d.next_attempt_at, d.created_at, d.outbox_id)
    ), taken AS (
        DELETE FROM symphony.payment_outbox_pending AS o USING bounded AS b
        WHERE o.outbox_id = b.outbox_id AND (b.total <= p_value_max OR b.n = 1)
            AND b.of_participant + coalesce((p_in_flight ->> o.participant_id)::integer, 0) <= p_participant_max
        RETURNING o.*
    ), leased AS (
        INSERT INTO symphony.outbox_leases AS l (outbox_id, claimed_by, lease_token, epoch, attempt_no, attempt_count, claimed_at, expires_at)
        SELECT t.outbox_id, p_worker, gen_random_uuid(), p_epoch, t.attempt_count + 1, t.attempt_count, clock_timestamp(),
            clock_timestamp() + make_interval(secs => p_lease_ms / 1000.0)
        FROM taken AS t ORDER BY t.outbox_id
        RETURNING l.outbox_id, l.lease_token, l.claimed_at
    )
    SELECT t.outbox_id, t.participant_id, t.sequence_id, t.idempotency_key, t.rail_type, t.payload, t.attempt_count + 1,
        t.parent_attestation_id, t.attestation_leaf_hash, t.policy_version, l.lease_token, l.claimed_at,
        (extract(epoch FROM l.claimed_at - t.created_at) * 1000000)::bigint
    FROM taken AS t JOIN leased AS l ON l.outbox_id = t.outbox_id
    ORDER BY t.created_at, t.outbox_id;
END
$$;

-- Attempt rows with their evidence: DISPATCHING in the claiming transaction, before a byte leaves (OUT-07).
CREATE FUNCTION symphony.insert_attempts(p_first_seq bigint, p_attempts jsonb, p_evidence bytea[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    INSERT INTO symphony.payment_outbox_attempts
    SELECT a.attempt_id, clock_timestamp(), a.outbox_id, a.outbox_id, a.participant_id, a.sequence_id, a.attempt_no,
        a.state::symphony.outbox_attempt_state, a.epoch, a.claimed_by, a.claimed_at, a.started_at, a.finished_at, a.rail, a.rail_reference,
        a.request_hash, a.correlation_id, a.error_class, a.error_code, a.latency_us, a.policy_version,
        p_first_seq + a.n, sha256('\x00'::bytea || p_evidence[a.n + 1]), p_evidence[a.n + 1]
    FROM jsonb_to_recordset(p_attempts) AS a(n int, attempt_id uuid, outbox_id uuid, participant_id text, sequence_id bigint,
        attempt_no int, state text, epoch bigint, claimed_by text, claimed_at timestamptz, started_at timestamptz, finished_at timestamptz,
        rail text, rail_reference text, request_hash text, correlation_id text, error_class text, error_code text, latency_us bigint,
        policy_version bigint)
$$;

-- Attempts of a claim: the leases must be this worker's (the same transaction made them), the state DISPATCHING.
CREATE FUNCTION symphony.record_dispatching(p_stream text, p_epoch bigint, p_first_seq bigint, p_attempts jsonb, p_evidence bytea[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM symphony.require_each_place(p_attempts, p_evidence);
    IF jsonb_array_length(p_attempts) <> (
        SELECT count(*) FROM jsonb_to_recordset(p_attempts) AS c(outbox_id uuid, claimed_by text, lease_token uuid, state text)
        JOIN symphony.outbox_leases AS l ON l.outbox_id = c.outbox_id AND l.claimed_by = c.claimed_by
            AND l.lease_token = c.lease_token AND l.epoch = p_epoch
        WHERE c.state = 'DISPATCHING')
    THEN
        RAISE EXCEPTION 'an attempt has no lease of its own' USING ERRCODE = 'SY003';
    END IF;
    PERFORM symphony.take_numbers(p_stream, p_epoch, p_first_seq, cardinality(p_evidence));
    PERFORM symphony.insert_attempts(p_first_seq, p_attempts, p_evidence);
END
$$;

-- Outcomes, fenced: claimed_by, lease_token and an unexpired lease must fit for every item, else SY003 and nothing happens
-- (OUT-08, INV-013). A terminal takes the primary key of payment_terminals (D6); RETRYABLE and ZOMBIE_REQUEUE go back to
-- pending with their attempt number; PENDING_MANUAL is parked. FAILED and VOIDED give usage back.
CREATE FUNCTION symphony.complete_outbox_attempts(
    p_stream text, p_epoch bigint, p_first_seq bigint, p_outcomes jsonb, p_evidence bytea[])
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    released integer;
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM symphony.require_each_place(p_outcomes, p_evidence);
    IF EXISTS (SELECT 1 FROM jsonb_to_recordset(p_outcomes) AS c(state text) WHERE c.state = 'DISPATCHING') THEN
        RAISE EXCEPTION 'an attempt that goes on is no outcome' USING ERRCODE = '22023';  -- OUT-04; its lease would be lost
    END IF;
    PERFORM symphony.take_numbers(p_stream, p_epoch, p_first_seq, cardinality(p_evidence));

    DELETE FROM symphony.outbox_leases AS l
    USING jsonb_to_recordset(p_outcomes) AS c(outbox_id uuid, claimed_by text, lease_token uuid)
    WHERE l.outbox_id = c.outbox_id AND l.claimed_by = c.claimed_by AND l.lease_token = c.lease_token AND l.epoch = p_epoch
        AND l.expires_at > clock_timestamp();
    GET DIAGNOSTICS released = ROW_COUNT;
    IF released <> jsonb_array_length(p_outcomes) THEN
        RAISE EXCEPTION '% of % leases are lost', jsonb_array_length(p_outcomes) - released, jsonb_array_length(p_outcomes)
            USING ERRCODE = 'SY003';
    END IF;

    PERFORM symphony.insert_attempts(p_first_seq, p_outcomes, p_evidence);

    INSERT INTO symphony.payment_terminals (outbox_id, state, attempt_no, source, reason_code, rail_reference, finished_at)
    SELECT c.outbox_id, c.state::symphony.outbox_attempt_state, c.attempt_no, 'attempt', c.error_code, c.rail_reference, clock_timestamp()
    FROM jsonb_to_recordset(p_outcomes) AS c(outbox_id uuid, state text, attempt_no int, error_code text, rail_reference text)
    WHERE c.state IN ('DISPATCHED', 'FAILED', 'VOIDED')
    ORDER BY c.outbox_id;

    INSERT INTO symphony.parked (outbox_id, reason_code, parked_at)
    SELECT c.outbox_id, c.error_code, clock_timestamp()
    FROM jsonb_to_recordset(p_outcomes) AS c(outbox_id uuid, state text, error_code text)
    WHERE c.state = 'PENDING_MANUAL'
    ORDER BY c.outbox_id;

    -- Back to pending, rebuilt from durable rows; never after a terminal (OUT-09, NEG-08).
    INSERT INTO symphony.payment_outbox_pending (outbox_id, instruction_id, participant_id, sequence_id, idempotency_key, rail_type,
        payload, amount_minor, attempt_count, next_attempt_at, created_at, parent_attestation_id, attestation_leaf_hash, policy_version)
    SELECT i.instruction_id, i.instruction_id, i.participant_id, i.sequence_id, i.idempotency_key, i.rail, c.payload, i.amount_minor,
        c.attempt_no, clock_timestamp() + make_interval(secs => c.retry_in_ms / 1000.0), i.created_at, i.attestation_id,
        i.attestation_leaf_hash, i.policy_version
    FROM jsonb_to_recordset(p_outcomes) AS c(outbox_id uuid, state text, attempt_no int, payload text, retry_in_ms int)
    JOIN symphony.payment_instructions AS i ON i.instruction_id = c.outbox_id
    WHERE c.state IN ('RETRYABLE', 'ZOMBIE_REQUEUE')
        AND NOT EXISTS (SELECT 1 FROM symphony.payment_terminals AS t WHERE t.outbox_id = c.outbox_id)
    ORDER BY i.instruction_id;

    UPDATE symphony.usage_daily AS u SET value_minor = u.value_minor - g.value_minor, payment_count = u.payment_count - g.payments
    FROM (SELECT i.participant_id, i.currency, i.usage_day, sum(i.amount_minor) AS value_minor, count(*) AS payments
        FROM jsonb_to_recordset(p_outcomes) AS c(outbox_id uuid, state text)
        JOIN symphony.payment_instructions AS i ON i.instruction_id = c.outbox_id
        WHERE c.state IN ('FAILED', 'VOIDED')
        GROUP BY i.participant_id, i.currency, i.usage_day) AS g
    WHERE u.participant_id = g.participant_id AND u.currency = g.currency AND u.day = g.usage_day;
    RETURN released;
END
$$;

-- OUT-19: one outcome, for tests and tools; the writer completes in batches.
CREATE FUNCTION symphony.complete_outbox_attempt(p_stream text, p_epoch bigint, p_first_seq bigint, p_outcome jsonb, p_evidence bytea)
RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT symphony.complete_outbox_attempts(p_stream, p_epoch, p_first_seq, jsonb_build_array(p_outcome), ARRAY[p_evidence])
$$;

-- Recovery (D7, OUT-10): leases that ran out, or that an older epoch left behind, or that the caller names as in doubt, get a
-- new token of this epoch and are answered with all that is needed to ask the rail. Nothing is sent again here.
CREATE FUNCTION symphony.take_over_leases(
    p_stream text, p_epoch bigint, p_worker text, p_in_doubt uuid[], p_limit integer, p_lease_ms integer)
RETURNS TABLE (outbox_id uuid, participant_id text, sequence_id bigint, idempotency_key text, rail_type text, attempt_no integer,
    recoveries integer, parent_attestation_id uuid, attestation_leaf_hash bytea, policy_version bigint, lease_token uuid,
    claimed_at timestamptz, amount_minor bigint, currency text, kind text, instructing_agent text, instructed_agent text,
    settlement_date date)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM 1 FROM symphony.writer_epochs AS w WHERE w.stream = p_stream AND w.epoch = p_epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % of stream % is over', p_epoch, p_stream USING ERRCODE = 'SY001';
    END IF;
    RETURN QUERY
    WITH lost AS (
        SELECT l.outbox_id FROM symphony.outbox_leases AS l
        WHERE (l.expires_at <= clock_timestamp() OR l.epoch < p_epoch OR l.outbox_id = ANY (p_in_doubt))
        ORDER BY l.outbox_id LIMIT p_limit FOR UPDATE OF l SKIP LOCKED
    ), mine AS (
        UPDATE symphony.outbox_leases AS l SET claimed_by = p_worker, lease_token = gen_random_uuid(), epoch = p_epoch,
            recoveries = l.recoveries + 1, expires_at = clock_timestamp() + make_interval(secs => p_lease_ms / 1000.0)
        FROM lost WHERE l.outbox_id = lost.outbox_id
        RETURNING l.*
    )
    SELECT m.outbox_id, i.participant_id, i.sequence_id, i.idempotency_key, i.rail, m.attempt_no, m.recoveries, i.attestation_id,
        i.attestation_leaf_hash, i.policy_version, m.lease_token, m.claimed_at, i.amount_minor, i.currency, i.kind,
        i.instructing_agent, i.instructed_agent, i.settlement_date
    FROM mine AS m JOIN symphony.payment_instructions AS i ON i.instruction_id = m.outbox_id
    ORDER BY m.outbox_id;
END
$$;

-- The frozen decision input of an instruction, for deciding it again under a newer release (design section 3, Permit).
CREATE FUNCTION symphony.decision_input(p_outbox_ids uuid[]) RETURNS TABLE (outbox_id uuid, decision_input bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    RETURN QUERY SELECT p.instruction_id, p.decision_input FROM symphony.payloads AS p WHERE p.instruction_id = ANY (p_outbox_ids);
END
$$;

-- D8: two people close a parked payment; the record is final and names its evidence. The check refuses maker = checker.
-- A payment that did not happen gives its usage back, as by any other end.
CREATE FUNCTION symphony.resolve_parked(
    p_stream text, p_epoch bigint, p_first_seq bigint, p_resolution jsonb, p_evidence bytea)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM symphony.take_numbers(p_stream, p_epoch, p_first_seq, 1);
    DELETE FROM symphony.parked AS k WHERE k.outbox_id = (p_resolution ->> 'outbox_id')::uuid;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the payment is not parked' USING ERRCODE = '23503';
    END IF;
    INSERT INTO symphony.resolutions
    SELECT r.resolution_id, r.outbox_id, r.decision, r.reason, r.maker, r.checker, r.evidence_reference, clock_timestamp()
    FROM jsonb_to_record(p_resolution) AS r(resolution_id uuid, outbox_id uuid, decision text, reason text, maker text, checker text,
        evidence_reference text);
    INSERT INTO symphony.payment_terminals (outbox_id, state, attempt_no, source, reason_code, finished_at)
    SELECT r.outbox_id, r.decision::symphony.outbox_attempt_state, 0, 'resolution', NULL, clock_timestamp()
    FROM jsonb_to_record(p_resolution) AS r(outbox_id uuid, decision text);
    UPDATE symphony.usage_daily AS u SET value_minor = u.value_minor - i.amount_minor, payment_count = u.payment_count - 1
    FROM symphony.payment_instructions AS i
    WHERE p_resolution ->> 'decision' = 'FAILED' AND i.instruction_id = (p_resolution ->> 'outbox_id')::uuid
        AND u.participant_id = i.participant_id AND u.currency = i.currency AND u.day = i.usage_day;
    INSERT INTO symphony.evidence_events
    VALUES (gen_random_uuid(), clock_timestamp(), (p_resolution ->> 'outbox_id')::uuid, 'RESOLUTION', 'operator', NULL,
        '{}', p_first_seq, sha256('\x00'::bytea || p_evidence), p_evidence);
END
$$;

-- What one instruction is and where it stands; the participant is checked by the caller's own filter (never another's).
CREATE FUNCTION symphony.instruction_status(p_instruction_id uuid, p_participant_id text)
RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    answer jsonb;
BEGIN
    PERFORM symphony.require_role('symphony_ingest');
    SELECT jsonb_build_object('instruction_id', s.instruction_id, 'state', s.state, 'reason_code', coalesce(s.reason_code, s.terminal_reason),
        'rail_reference', s.rail_reference, 'received_at', symphony.rfc3339(a.received_at_utc),
        'finished_at', symphony.rfc3339(s.finished_at), 'attestation_id', i.attestation_id,
        'policy_version', i.policy_version, 'policy_checksum', i.policy_checksum, 'sequence_id', i.sequence_id, 'tx_index', i.tx_index,
        'state_version', 1 + (SELECT count(*) FROM symphony.payment_outbox_attempts AS x WHERE x.outbox_id = s.instruction_id))
    INTO answer
    FROM symphony.instruction_states AS s JOIN symphony.payment_instructions AS i USING (instruction_id)
    JOIN symphony.ingress_attestations AS a ON a.attestation_id = i.attestation_id
    WHERE s.instruction_id = p_instruction_id AND i.participant_id = p_participant_id;
    RETURN answer;
END
$$;
