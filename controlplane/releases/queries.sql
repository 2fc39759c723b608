-- name: list
SELECT number, status, checksum, metadata_digest, proposer_key_id, actor, reason, created_at, activated_at
FROM symphony.policy_versions WHERE environment = %s ORDER BY number DESC LIMIT 1000
-- name: one
SELECT number, status, is_active, checksum, metadata_digest, metadata, proposer_key_id, actor, reason, created_at,
    activated_at
FROM symphony.policy_versions WHERE environment = %s AND number = %s
-- name: active
SELECT number, checksum FROM symphony.policy_versions WHERE environment = %s AND is_active
-- name: approvals
SELECT key_id, signature, actor, approved_at FROM symphony.release_approvals
WHERE environment = %s AND number = %s ORDER BY approved_at, key_id
-- name: events
SELECT event, actor, actor_key_id, convert_from(envelope, 'UTF8') AS envelope, at FROM symphony.release_events
WHERE environment = %s AND number = %s ORDER BY event_id
-- name: targets
SELECT path, sha256 FROM symphony.release_targets WHERE environment = %s AND number = %s ORDER BY path
-- name: target
SELECT t.sha256, t.content FROM symphony.release_targets AS r JOIN symphony.tuf_targets AS t USING (sha256)
WHERE r.environment = %s AND r.number = %s AND r.path = %s
-- name: published_target
SELECT t.content FROM symphony.release_targets AS r
JOIN symphony.tuf_targets AS t USING (sha256)
JOIN symphony.policy_versions AS v USING (environment, number)
WHERE r.environment = %s AND r.number = %s AND r.path = %s AND r.sha256 = %s AND v.status IN ('ACTIVE', 'SUPERSEDED')
-- name: active_targets
SELECT r.path, r.sha256 FROM symphony.policy_versions AS v JOIN symphony.release_targets AS r USING (environment, number)
WHERE v.environment = %s AND v.is_active
-- name: active_bundle
SELECT t.sha256, t.content FROM symphony.policy_versions AS v
JOIN symphony.release_targets AS r USING (environment, number)
JOIN symphony.tuf_targets AS t USING (sha256)
WHERE v.environment = %s AND v.is_active AND r.path = 'policy.tar.gz'
-- name: active_bundle_digest
SELECT r.sha256 FROM symphony.policy_versions AS v JOIN symphony.release_targets AS r USING (environment, number)
WHERE v.environment = %s AND v.is_active AND r.path = 'policy.tar.gz'
-- name: propose
SELECT symphony.record_proposal(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
-- name: approve
SELECT symphony.record_approval(%s, %s, %s, %s, %s, %s, %s)
-- name: activate
SELECT symphony.activate_release(%s, %s, %s, %s, %s, %s, %s, %s)
-- name: withdraw
SELECT symphony.withdraw_release(%s, %s, %s, %s, %s)
-- name: was_approved
SELECT 1 FROM symphony.release_events WHERE environment = %s AND number = %s AND event = 'APPROVED' LIMIT 1
-- name: freeze
SELECT symphony.freeze_releases(%s, %s, %s, %s, %s, %s, %s) AS number
-- name: unfreeze
SELECT symphony.unfreeze_releases(%s, %s, %s, %s, %s, %s, %s)
-- name: freezes
SELECT f.number, f.starts_at, f.ends_at, f.reason, f.actor, f.actor_key_id, f.envelope_sha256, f.asked_at,
    (SELECT u.at FROM symphony.release_unfreezes AS u
     WHERE (u.environment, u.number) = (f.environment, f.number) AND u.lifts) AS lifted_at
FROM symphony.release_freezes AS f WHERE f.environment = %s AND (%s::bigint IS NULL OR f.number = %s)
ORDER BY f.number DESC LIMIT 1000
-- name: freeze_by_envelope
SELECT number FROM symphony.release_freezes WHERE environment = %s AND envelope_sha256 = %s
-- name: freezes_ahead
-- Freezes that are neither lifted nor over at a moment, the one that lasts longest first.
SELECT f.number, f.starts_at, f.ends_at, f.reason, f.actor
FROM symphony.release_freezes AS f
WHERE f.environment = %s AND (f.ends_at IS NULL OR f.ends_at > %s)
  AND NOT EXISTS (SELECT 1 FROM symphony.release_unfreezes AS u
                  WHERE (u.environment, u.number) = (f.environment, f.number) AND u.lifts)
ORDER BY f.ends_at DESC NULLS FIRST, f.number
-- name: unfreezes
SELECT number, actor, actor_key_id, reason, envelope_sha256, lifts, at FROM symphony.release_unfreezes
WHERE environment = %s AND number = ANY (%s::bigint[]) ORDER BY number, at
-- name: keep_refusal
SELECT symphony.keep_release_refusal(%s, %s, %s, %s, %s, %s, %s, %s, %s) AS kept
-- name: active_environment_data
SELECT v.number, t.content FROM symphony.policy_versions AS v
JOIN symphony.release_targets AS r USING (environment, number)
JOIN symphony.tuf_targets AS t USING (sha256)
WHERE v.environment = %s AND v.is_active AND r.path = 'environment.json'
-- name: database_time
SELECT clock_timestamp() AS now
-- name: activations
SELECT event_id, number, actor, actor_key_id, envelope, at FROM symphony.release_events
WHERE environment = %s AND event = 'ACTIVE' ORDER BY event_id
-- name: signed_events
SELECT event_id, event, actor, actor_key_id, envelope, at FROM symphony.release_events
WHERE environment = %s AND number = %s AND envelope IS NOT NULL ORDER BY event_id
-- name: kept
-- What of a release's row never changes.
SELECT metadata_digest, checksum AS policy_digest, reason FROM symphony.policy_versions WHERE environment = %s AND number = %s
