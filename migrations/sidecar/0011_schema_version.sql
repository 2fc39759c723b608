-- rollback: traffic to the release before, which does not ask; the function stays in place.
-- compatibility: tests/sidecar/test_db_schema_version.py
-- Which migration a database is at, for the evidence of a writer's start (ATT-19): the ledger of migrations is the owner's.
CREATE FUNCTION symphony.schema_version() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    IF to_regclass('symphony_migrations.applied') IS NULL THEN
        RETURN NULL;  -- set up by hand, without a ledger
    END IF;
    RETURN (SELECT max(a.version) FROM symphony_migrations.applied AS a);
END
$$;
REVOKE ALL ON FUNCTION symphony.schema_version() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION symphony.schema_version() TO symphony_executor;
