-- What the writer says to its database. Every line is a call of the DB API (INV-010); there is no other.

-- name: begin_epoch
SELECT epoch, next_seq FROM symphony.begin_epoch(%s)

-- name: current_numbers
SELECT epoch, next_seq FROM symphony.current_numbers(%s)

-- name: judge_batch
SELECT symphony.judge_batch(%s, %s, %s, %s::jsonb, %s::jsonb)

-- name: record_batch
SELECT symphony.record_batch(%s, %s, %s, %s::date, %s::jsonb, %b::bytea[], %s::jsonb, %b::bytea[], %b::bytea[], %b::bytea[])

-- name: claim_outbox_batch
SELECT * FROM symphony.claim_outbox_batch(%s, %s, %s, %s, %s, %s, %s, %s::jsonb)

-- name: record_dispatching
SELECT symphony.record_dispatching(%s, %s, %s, %s::jsonb, %b::bytea[])

-- name: complete_outbox_attempts
SELECT symphony.complete_outbox_attempts(%s, %s, %s, %s::jsonb, %b::bytea[])

-- name: take_over_leases
SELECT * FROM symphony.take_over_leases(%s, %s, %s, %s::uuid[], %s, %s)

-- name: decision_input
SELECT outbox_id, decision_input FROM symphony.decision_input(%s::uuid[])

-- name: record_events
SELECT symphony.record_events(%s, %s, %s, %s::jsonb, %b::bytea[])

-- name: instruction_status
SELECT symphony.instruction_status(%s::uuid, %s)

-- name: usage_today
SELECT participant_id, currency, day::text, value_minor, payment_count FROM symphony.usage_today(%s)

-- name: evidence_backlog
SELECT symphony.evidence_backlog(%s)

-- name: accept_release
SELECT symphony.accept_release(%s, %s)

-- name: highest_release
SELECT number, metadata_digest FROM symphony.highest_release()

-- name: add_revocations
SELECT symphony.add_revocations(%s, %s::jsonb)

-- name: purge_seen_jti
SELECT symphony.purge_seen_jti(%s)

-- name: parked_payment
SELECT symphony.parked_payment(%s::uuid)

-- name: resolve_parked
SELECT symphony.resolve_parked(%s, %s, %s, %s::jsonb, (%b::bytea[])[1])

-- name: keep_order
SELECT symphony.keep_order(%s, %s, %s, %b::bytea, %b::bytea, %b::bytea[])

-- name: kept_orders
SELECT number, is_lift, envelope, targets, roots FROM symphony.kept_orders()

-- name: has_schema_version
SELECT to_regprocedure('symphony.schema_version()') IS NOT NULL

-- name: schema_version
SELECT symphony.schema_version()
