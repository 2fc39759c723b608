-- The DB API of station 8: events that ride on no payment row, sealing and shipping (EVD-01, design section 3 "Processes").

-- Events with numbers of the same stream: rejected aggregates, release changes, starts, recoveries.
CREATE FUNCTION symphony.record_events(p_stream text, p_epoch bigint, p_first_seq bigint, p_events jsonb, p_evidence bytea[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    PERFORM symphony.require_each_place(p_events, p_evidence);
    PERFORM symphony.take_numbers(p_stream, p_epoch, p_first_seq, cardinality(p_evidence));
    INSERT INTO symphony.evidence_events
    SELECT e.event_id, clock_timestamp(), e.instruction_id, e.event_type, e.source, e.payload_hash, e.canonical_fields,
        p_first_seq + e.n, sha256('\x00'::bytea || p_evidence[e.n + 1]), p_evidence[e.n + 1]
    FROM jsonb_to_recordset(p_events) AS e(n int, event_id uuid, instruction_id uuid, event_type text, source text, payload_hash text,
        canonical_fields text);
END
$$;

-- What the shipper has still to seal: records from a number on, in order, bounded.
CREATE FUNCTION symphony.read_evidence(p_from_seq bigint, p_limit integer) RETURNS TABLE (stream_seq bigint, leaf_hash bytea, evidence bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off AS $$
    SELECT r.stream_seq, r.leaf_hash, r.evidence FROM (
        (SELECT a.stream_seq, a.leaf_hash, a.evidence FROM symphony.ingress_attestations AS a
            WHERE a.stream_seq >= p_from_seq AND a.stream_seq < p_from_seq + p_limit)
        UNION ALL
        (SELECT x.stream_seq, x.leaf_hash, x.evidence FROM symphony.payment_outbox_attempts AS x
            WHERE x.stream_seq >= p_from_seq AND x.stream_seq < p_from_seq + p_limit)
        UNION ALL
        (SELECT e.stream_seq, e.leaf_hash, e.evidence FROM symphony.evidence_events AS e
            WHERE e.stream_seq >= p_from_seq AND e.stream_seq < p_from_seq + p_limit)
    ) AS r ORDER BY r.stream_seq
$$;

-- Where the shipper stands: the last sealed batch, whether it is shipped, and the writer's last number and epoch.
CREATE FUNCTION symphony.shipping_state(p_stream text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT jsonb_build_object(
        'epoch', w.epoch, 'last_seq', w.next_seq - 1,
        'sealed', (SELECT jsonb_build_object('first_seq', b.first_seq, 'last_seq', b.last_seq, 'batch_sha256', b.batch_sha256,
                'batch', encode(b.batch, 'base64'), 'signature', b.signature,
                'shipped', EXISTS (SELECT 1 FROM symphony.evidence_shipments AS s WHERE s.stream = b.stream AND s.first_seq = b.first_seq))
            FROM symphony.evidence_batches AS b WHERE b.stream = p_stream ORDER BY b.first_seq DESC LIMIT 1),
        'unshipped', (SELECT count(*) FROM symphony.evidence_batches AS b WHERE b.stream = p_stream AND NOT EXISTS (
            SELECT 1 FROM symphony.evidence_shipments AS s WHERE s.stream = b.stream AND s.first_seq = b.first_seq)))
    FROM symphony.writer_epochs AS w WHERE w.stream = p_stream
$$;

-- One of the shipper's two writes: seal a range before it is sent. The range must follow the last one.
CREATE FUNCTION symphony.seal_evidence_batch(
    p_stream text, p_first_seq bigint, p_last_seq bigint, p_batch bytea, p_batch_sha256 text, p_signature text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    expected bigint;
BEGIN
    PERFORM symphony.require_role('symphony_shipper');
    PERFORM pg_advisory_xact_lock(hashtextextended('symphony.seal.' || p_stream, 0));
    SELECT coalesce(max(b.last_seq), 0) + 1 INTO expected FROM symphony.evidence_batches AS b WHERE b.stream = p_stream;
    IF p_first_seq <> expected THEN
        RAISE EXCEPTION 'the next batch begins at %, not %', expected, p_first_seq USING ERRCODE = 'SY002';
    END IF;
    IF (p_last_seq < (SELECT w.next_seq FROM symphony.writer_epochs AS w WHERE w.stream = p_stream)) IS NOT TRUE THEN
        RAISE EXCEPTION 'the batch is ahead of the stream' USING ERRCODE = 'SY002';
    END IF;
    INSERT INTO symphony.evidence_batches (stream, first_seq, last_seq, batch, batch_sha256, signature)
    VALUES (p_stream, p_first_seq, p_last_seq, p_batch, p_batch_sha256, p_signature);
END
$$;

-- The other: mark a sealed batch as taken by the control plane.
CREATE FUNCTION symphony.mark_shipped(p_stream text, p_first_seq bigint, p_last_seq bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_shipper');
    INSERT INTO symphony.evidence_shipments (stream, first_seq, last_seq)
    SELECT b.stream, b.first_seq, b.last_seq FROM symphony.evidence_batches AS b
    WHERE b.stream = p_stream AND b.first_seq = p_first_seq AND b.last_seq = p_last_seq
    ON CONFLICT (stream, first_seq) DO NOTHING;
    IF NOT EXISTS (SELECT 1 FROM symphony.evidence_shipments AS s WHERE s.stream = p_stream AND s.first_seq = p_first_seq
            AND s.last_seq = p_last_seq) THEN
        RAISE EXCEPTION 'no such sealed batch' USING ERRCODE = '23503';
    END IF;
END
$$;

-- How many records wait for the control plane (the manifest's evidence backlog bound).
CREATE FUNCTION symphony.evidence_backlog(p_stream text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT w.next_seq - 1 - coalesce((SELECT s.last_seq FROM symphony.evidence_shipments AS s WHERE s.stream = p_stream
        ORDER BY s.first_seq DESC LIMIT 1), 0)
    FROM symphony.writer_epochs AS w WHERE w.stream = p_stream
$$;
