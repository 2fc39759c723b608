-- Append-only by privilege, row trigger and statement-level TRUNCATE trigger, on every partition (D11, ATT-10, OUT-07).

CREATE FUNCTION symphony.deny_mutation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = '42501';
END
$$;

CREATE FUNCTION symphony.deny_lowered_sequence() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
BEGIN
    IF NEW.next_sequence_id < OLD.next_sequence_id OR NEW.next_tenant_seq_no < OLD.next_tenant_seq_no
       OR NEW.participant_id <> OLD.participant_id THEN
        RAISE EXCEPTION 'a participant sequence never goes back' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_sequences_never_lowered BEFORE UPDATE ON symphony.participant_outbox_sequences
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_lowered_sequence();
CREATE TRIGGER trg_sequences_kept BEFORE DELETE ON symphony.participant_outbox_sequences
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_sequences_not_truncated BEFORE TRUNCATE ON symphony.participant_outbox_sequences
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_pending_not_updated BEFORE UPDATE ON symphony.payment_outbox_pending
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();  -- NEG-13: delete and insert, never update
CREATE TRIGGER trg_pending_not_truncated BEFORE TRUNCATE ON symphony.payment_outbox_pending
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

CREATE TRIGGER trg_deny_outbox_attempts_mutation BEFORE UPDATE OR DELETE ON symphony.payment_outbox_attempts
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_attempts_not_truncated BEFORE TRUNCATE ON symphony.payment_outbox_attempts
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_attestations_append_only BEFORE UPDATE OR DELETE ON symphony.ingress_attestations
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_attestations_not_truncated BEFORE TRUNCATE ON symphony.ingress_attestations
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_events_append_only BEFORE UPDATE OR DELETE ON symphony.evidence_events
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_events_not_truncated BEFORE TRUNCATE ON symphony.evidence_events
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_revocations_append_only BEFORE UPDATE OR DELETE ON symphony.revocations
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_revocations_not_truncated BEFORE TRUNCATE ON symphony.revocations
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_instructions_append_only BEFORE UPDATE OR DELETE ON symphony.payment_instructions
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_instructions_not_truncated BEFORE TRUNCATE ON symphony.payment_instructions
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_terminals_append_only BEFORE UPDATE OR DELETE ON symphony.payment_terminals
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_terminals_not_truncated BEFORE TRUNCATE ON symphony.payment_terminals
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_resolutions_append_only BEFORE UPDATE OR DELETE ON symphony.resolutions
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_resolutions_not_truncated BEFORE TRUNCATE ON symphony.resolutions
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_batches_append_only BEFORE UPDATE OR DELETE ON symphony.evidence_batches
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_batches_not_truncated BEFORE TRUNCATE ON symphony.evidence_batches
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_shipments_append_only BEFORE UPDATE OR DELETE ON symphony.evidence_shipments
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_shipments_not_truncated BEFORE TRUNCATE ON symphony.evidence_shipments
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_releases_append_only BEFORE UPDATE OR DELETE ON symphony.accepted_releases
    FOR EACH ROW EXECUTE FUNCTION symphony.deny_mutation();
CREATE TRIGGER trg_releases_not_truncated BEFORE TRUNCATE ON symphony.accepted_releases
    FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation();

-- Monthly partitions, made ahead by the owner (`symphony up` and the upkeep job). Runs with the caller's rights.
-- A TRUNCATE on a partition passes the parent's statement trigger by, so each partition gets its own (findings).
CREATE FUNCTION symphony.ensure_partitions(p_from date, p_months integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, symphony, pg_temp AS $$
DECLARE
    parent text;
    part text;
    month_start date;
    made integer := 0;
BEGIN
    IF p_months NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'months ahead must be 0 to 24' USING ERRCODE = '22023';
    END IF;
    FOREACH parent IN ARRAY ARRAY['ingress_attestations', 'payloads', 'payment_outbox_attempts', 'evidence_events'] LOOP
        FOR i IN 0..p_months LOOP
            month_start := (date_trunc('month', p_from) + make_interval(months => i))::date;
            part := parent || '_' || to_char(month_start, 'YYYYMM');
            IF to_regclass('symphony.' || part) IS NULL THEN
                EXECUTE format('CREATE TABLE symphony.%I PARTITION OF symphony.%I FOR VALUES FROM (%L) TO (%L)',
                    part, parent, month_start::timestamp AT TIME ZONE 'UTC',
                    (month_start + interval '1 month') AT TIME ZONE 'UTC');
                EXECUTE format('REVOKE ALL ON symphony.%I FROM PUBLIC', part);
                IF parent <> 'payloads' THEN
                    EXECUTE format('CREATE TRIGGER trg_partition_not_truncated BEFORE TRUNCATE ON symphony.%I '
                        'FOR EACH STATEMENT EXECUTE FUNCTION symphony.deny_mutation()', part);
                END IF;
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION symphony.ensure_partitions(date, integer) FROM PUBLIC;

SELECT symphony.ensure_partitions((clock_timestamp() AT TIME ZONE 'UTC')::date, 3);
