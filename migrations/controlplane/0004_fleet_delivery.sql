-- rollback: traffic to the control plane before, which calls report_status; the columns stay empty and the function in place.
-- compatibility: tests/releases/test_faces.py
-- What an instance says beyond what runs and what it refused: the newest release that it was shown, whether a refusal may pass
-- by itself, and until when its lease lasts. NULL: a service of the release before, which says none of it.
ALTER TABLE symphony.fleet_status
    ADD COLUMN delivered_number bigint,
    ADD COLUMN refused_permanent boolean,
    ADD COLUMN lease_expires_at timestamptz;

CREATE FUNCTION symphony.report_delivery(
    p_environment text, p_service text, p_instance text, p_active_number bigint, p_active_digest text,
    p_refused_number bigint, p_refused_code text, p_ready boolean, p_mode text,
    p_delivered_number bigint, p_refused_permanent boolean, p_lease_expires_at timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.report_status(p_environment, p_service, p_instance, p_active_number, p_active_digest,
                                   p_refused_number, p_refused_code, p_ready, p_mode);
    UPDATE symphony.fleet_status AS s
    SET delivered_number = p_delivered_number, refused_permanent = p_refused_permanent, lease_expires_at = p_lease_expires_at
    WHERE (s.environment, s.service, s.instance) = (p_environment, p_service, p_instance);
END
$$;
REVOKE ALL ON FUNCTION symphony.report_delivery(
    text, text, text, bigint, text, bigint, text, boolean, text, bigint, boolean, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION symphony.report_delivery(
    text, text, text, bigint, text, bigint, text, boolean, text, bigint, boolean, timestamptz) TO symphony_control;
