-- rollback: traffic to the release before, which does not know the role; it stays in place.
-- compatibility: tests/impact/test_database.py
-- Who may read frozen decision inputs for the impact report of a candidate release (design section 4, CHECKED; section 8,
-- Payloads): a role of its own, and of the payloads only the decision inputs: no raw message, no salt.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = 'symphony_replay') THEN
        CREATE ROLE symphony_replay NOLOGIN NOINHERIT;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of the cluster made it at the same time
END
$$;

GRANT USAGE ON SCHEMA symphony TO symphony_replay;
GRANT SELECT (instruction_id, created_at, decision_input) ON symphony.payloads TO symphony_replay;
GRANT SELECT (instruction_id, created_at, decision, reason_code, detail, participant_id, rail, amount_minor, currency,
    instructing_agent) ON symphony.payment_instructions TO symphony_replay;
