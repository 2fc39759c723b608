-- rollback: traffic to the release before, which does not call the function; it stays in place.
-- compatibility: tests/sidecar/test_flow_resolution.py
-- What the writer must know to close a parked payment (D8, OUT-12): the parked row, what it asks the rail with, and the record
-- of a resolution that stands already. It reads; resolve_parked of 0005 writes.
CREATE FUNCTION symphony.parked_payment(p_outbox_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, symphony, pg_temp SET enable_seqscan = off AS $$
DECLARE
    answer jsonb;
BEGIN
    PERFORM symphony.require_role('symphony_executor');
    SELECT jsonb_build_object(
        'instruction_id', i.instruction_id, 'participant_id', i.participant_id, 'sequence_id', i.sequence_id, 'rail', i.rail,
        'attestation_leaf_hash', encode(i.attestation_leaf_hash, 'hex'), 'policy_version', i.policy_version,
        'attempt_no', (SELECT max(a.attempt_no) FROM symphony.payment_outbox_attempts AS a WHERE a.outbox_id = i.instruction_id),
        'parked', (SELECT jsonb_build_object('reason_code', k.reason_code, 'parked_at', symphony.rfc3339(k.parked_at))
            FROM symphony.parked AS k WHERE k.outbox_id = i.instruction_id),
        'terminal', (SELECT jsonb_build_object('state', t.state, 'source', t.source)
            FROM symphony.payment_terminals AS t WHERE t.outbox_id = i.instruction_id),
        'resolution', (SELECT jsonb_build_object('resolution_id', r.resolution_id, 'decision', r.decision, 'maker_key_id', r.maker,
                'checker_key_id', r.checker, 'evidence_reference', r.evidence_reference,
                'resolved_at', symphony.rfc3339(r.resolved_at))
            FROM symphony.resolutions AS r WHERE r.outbox_id = i.instruction_id))
    INTO answer
    FROM symphony.payment_instructions AS i
    WHERE i.instruction_id = p_outbox_id AND i.decision = 'ALLOW';
    RETURN answer;
END
$$;
REVOKE ALL ON FUNCTION symphony.parked_payment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION symphony.parked_payment(uuid) TO symphony_executor;
