-- rollback: traffic to the release before, which does not know the tables; they stay in place.
-- compatibility: tests/releases/test_orders.py
-- Orders of officers and what lifts them (design section 4, PIL-04): a journal that only grows; each entry is a leaf of the log.
CREATE TABLE symphony.orders (
    position bigint NOT NULL CHECK (position >= 1),
    environment text NOT NULL CHECK (environment IN ('sandbox', 'staging', 'production')),
    number bigint NOT NULL CHECK (number BETWEEN 1 AND 1000000),
    is_lift boolean NOT NULL,
    order_sha256 text NOT NULL CHECK (order_sha256 ~ '^[0-9a-f]{64}$'),
    envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 1 AND 16384),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 64),
    log_index bigint NOT NULL CHECK (log_index >= 0),
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT orders_pkey PRIMARY KEY (environment, position),
    CONSTRAINT ux_orders_number UNIQUE (environment, number, is_lift)
);

-- Officers' signatures over a lift on its way, one a key; the first one's payload is what the others sign.
CREATE TABLE symphony.order_lift_signatures (
    environment text NOT NULL,
    number bigint NOT NULL,
    payload bytea NOT NULL CHECK (octet_length(payload) BETWEEN 1 AND 8192),
    key_id text NOT NULL CHECK (key_id ~ '^[0-9a-f]{64}$'),
    signature text NOT NULL CHECK (signature ~ '^[0-9a-f]{128}$'),
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 64),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT order_lift_signatures_pkey PRIMARY KEY (environment, number, key_id)
);

CREATE TRIGGER trg_orders_append_only BEFORE UPDATE OR DELETE ON symphony.orders
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_orders_not_truncated BEFORE TRUNCATE ON symphony.orders
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_order_lifts_append_only BEFORE UPDATE OR DELETE ON symphony.order_lift_signatures
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_order_lifts_not_truncated BEFORE TRUNCATE ON symphony.order_lift_signatures
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- One change at a time: positions and numbers follow each other without a gap, and nobody reads past one that is not committed.
CREATE FUNCTION symphony.lock_orders() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
    SELECT pg_catalog.pg_advisory_xact_lock(1937337968, 3);
$$;

-- Record an order or a complete lift with its own leaf. Call after lock_orders and evidence_lock_own.
CREATE FUNCTION symphony.record_order(
    p_environment text, p_number bigint, p_is_lift boolean, p_order_sha256 text, p_envelope bytea, p_actor text,
    p_seq bigint, p_record bytea, p_recorded_at timestamptz
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    v_position bigint;
    v_index bigint;
BEGIN
    PERFORM symphony.lock_orders();
    IF NOT p_is_lift AND p_number <> coalesce((SELECT max(o.number) FROM symphony.orders AS o
                                               WHERE o.environment = p_environment), 0) + 1 THEN
        RAISE EXCEPTION 'order % does not follow the last one', p_number USING ERRCODE = 'P0001';
    END IF;
    IF p_is_lift AND NOT EXISTS (SELECT 1 FROM symphony.orders AS o WHERE o.environment = p_environment
                                 AND o.number = p_number AND NOT o.is_lift AND o.order_sha256 = p_order_sha256) THEN
        RAISE EXCEPTION 'there is no such order % to lift', p_number USING ERRCODE = 'P0001';
    END IF;
    v_position := coalesce((SELECT max(o.position) FROM symphony.orders AS o WHERE o.environment = p_environment), 0) + 1;
    v_index := symphony.log_add('controlplane', p_seq, ARRAY[p_record], ARRAY['order'], ARRAY[p_recorded_at], '{}', '{}');
    UPDATE symphony.evidence_streams AS s SET last_seq = p_seq, signed_seq = p_seq
    WHERE s.stream = 'controlplane' AND s.last_seq = p_seq - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the control plane''s own stream has another end' USING ERRCODE = '22023';
    END IF;
    INSERT INTO symphony.orders (position, environment, number, is_lift, order_sha256, envelope, actor, log_index)
    VALUES (v_position, p_environment, p_number, p_is_lift, p_order_sha256, p_envelope, p_actor, v_index);
    RETURN v_position;
END
$$;

-- Keep one officer's signature over a lift; what the first one wrote is what all sign.
CREATE FUNCTION symphony.sign_order_lift(
    p_environment text, p_number bigint, p_payload bytea, p_key_id text, p_signature text, p_actor text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.lock_orders();
    IF EXISTS (SELECT 1 FROM symphony.order_lift_signatures AS s
               WHERE s.environment = p_environment AND s.number = p_number AND s.payload <> p_payload) THEN
        RAISE EXCEPTION 'another lift of order % is on its way', p_number USING ERRCODE = 'P0001';
    END IF;
    INSERT INTO symphony.order_lift_signatures (environment, number, payload, key_id, signature, actor)
    VALUES (p_environment, p_number, p_payload, p_key_id, p_signature, p_actor);
END
$$;

REVOKE ALL ON symphony.orders, symphony.order_lift_signatures FROM PUBLIC;
REVOKE ALL ON FUNCTION symphony.lock_orders(),
    symphony.record_order(text, bigint, boolean, text, bytea, text, bigint, bytea, timestamptz),
    symphony.sign_order_lift(text, bigint, bytea, text, text, text) FROM PUBLIC;
GRANT SELECT ON symphony.orders, symphony.order_lift_signatures TO symphony_control, symphony_control_reader;
GRANT EXECUTE ON FUNCTION symphony.lock_orders(),
    symphony.record_order(text, bigint, boolean, text, bytea, text, bigint, bytea, timestamptz),
    symphony.sign_order_lift(text, bigint, bytea, text, text, text) TO symphony_control;
