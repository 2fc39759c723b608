-- Each role, exactly its list (INV-005, INV-010). Runtime roles own nothing and have no direct DML.
REVOKE ALL ON ALL TABLES IN SCHEMA symphony FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA symphony FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
    symphony.judge_batch(text, bigint, text, jsonb, jsonb),
    symphony.record_batch(text, bigint, bigint, date, jsonb, bytea[], jsonb, bytea[], bytea[], bytea[]),
    symphony.enqueue_payment_outbox(uuid, text, text, text, text, uuid),
    symphony.bump_participant_outbox_seq(text),
    symphony.instruction_status(uuid, text),
    symphony.usage_today(text),
    symphony.require_role(text)
    TO symphony_ingest;

GRANT EXECUTE ON FUNCTION
    symphony.begin_epoch(text),
    symphony.current_numbers(text),
    symphony.claim_outbox_batch(text, bigint, text, integer, integer, bigint, integer, jsonb),
    symphony.record_dispatching(text, bigint, bigint, jsonb, bytea[]),
    symphony.complete_outbox_attempts(text, bigint, bigint, jsonb, bytea[]),
    symphony.complete_outbox_attempt(text, bigint, bigint, jsonb, bytea),
    symphony.take_over_leases(text, bigint, text, uuid[], integer, integer),
    symphony.decision_input(uuid[]),
    symphony.resolve_parked(text, bigint, bigint, jsonb, bytea),
    symphony.record_events(text, bigint, bigint, jsonb, bytea[]),
    symphony.accept_release(bigint, text),
    symphony.highest_release(),
    symphony.add_revocations(bigint, jsonb),
    symphony.purge_seen_jti(integer),
    symphony.evidence_backlog(text),
    symphony.require_role(text)
    TO symphony_executor;

GRANT EXECUTE ON FUNCTION
    symphony.read_evidence(bigint, integer),
    symphony.shipping_state(text),
    symphony.seal_evidence_batch(text, bigint, bigint, bytea, text, text),
    symphony.mark_shipped(text, bigint, bigint),
    symphony.require_role(text)
    TO symphony_shipper;

GRANT SELECT ON
    symphony.writer_epochs, symphony.accepted_releases, symphony.revocations, symphony.revoked_client_certs,
    symphony.ingress_attestations, symphony.payment_instructions, symphony.participant_outbox_sequences, symphony.usage_daily,
    symphony.payment_outbox_pending, symphony.outbox_leases, symphony.payment_outbox_attempts, symphony.payment_terminals,
    symphony.parked, symphony.resolutions, symphony.evidence_events, symphony.evidence_batches, symphony.evidence_shipments,
    symphony.evidence_records, symphony.instruction_states
    TO symphony_reader;
GRANT EXECUTE ON FUNCTION symphony.evidence_backlog(text), symphony.shipping_state(text) TO symphony_reader;
