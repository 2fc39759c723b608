-- rollback: traffic to the release before, which does not know the tables; they stay in place, and an order then has no effect.
-- compatibility: tests/sidecar/test_flow_orders.py
-- Orders of officers (design section 4, PIL-04): kept exactly as signed, with the custodians' metadata that they stood on, so that
-- each is verified again at every start from the pinned root alone. Append-only: a lift is a row of its own.
CREATE TABLE symphony.orders (
    number bigint NOT NULL CHECK (number BETWEEN 1 AND 1000000),
    order_sha256 text NOT NULL CHECK (order_sha256 ~ '^[0-9a-f]{64}$'),
    is_lift boolean NOT NULL,
    envelope bytea NOT NULL CHECK (octet_length(envelope) BETWEEN 1 AND 16384),
    targets bytea NOT NULL CHECK (octet_length(targets) BETWEEN 1 AND 2000000),
    roots bytea[] NOT NULL CHECK (cardinality(roots) <= 1024),
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT orders_pkey PRIMARY KEY (number, order_sha256, is_lift)
);
REVOKE ALL ON symphony.orders FROM PUBLIC;
CREATE TRIGGER trg_orders_append_only BEFORE UPDATE OR DELETE ON symphony.orders
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_orders_not_truncated BEFORE TRUNCATE ON symphony.orders
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- Keep an order or a lift once; whether it is new. Its evidence is written by the caller in the same transaction.
CREATE FUNCTION symphony.keep_order(
    p_number bigint, p_order_sha256 text, p_is_lift boolean, p_envelope bytea, p_targets bytea, p_roots bytea[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    INSERT INTO symphony.orders (number, order_sha256, is_lift, envelope, targets, roots)
    VALUES (p_number, p_order_sha256, p_is_lift, p_envelope, p_targets, p_roots)
    ON CONFLICT ON CONSTRAINT orders_pkey DO NOTHING;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION symphony.keep_order(bigint, text, boolean, bytea, bytea, bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION symphony.keep_order(bigint, text, boolean, bytea, bytea, bytea[]) TO symphony_executor;

-- Everything kept, orders before lifts.
CREATE FUNCTION symphony.kept_orders() RETURNS TABLE (number bigint, is_lift boolean, envelope bytea, targets bytea, roots bytea[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    RETURN QUERY SELECT o.number, o.is_lift, o.envelope, o.targets, o.roots FROM symphony.orders AS o
        ORDER BY o.is_lift, o.number, o.order_sha256;
END
$$;
REVOKE ALL ON FUNCTION symphony.kept_orders() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION symphony.kept_orders() TO symphony_executor;
GRANT SELECT ON symphony.orders TO symphony_reader;
