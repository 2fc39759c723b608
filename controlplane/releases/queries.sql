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
-- name: active_bundle
SELECT t.sha256, t.content FROM symphony.policy_versions AS v
JOIN symphony.release_targets AS r USING (environment, number)
JOIN symphony.tuf_targets AS t USING (sha256)
WHERE v.environment = %s AND v.is_active AND r.path = 'policy.tar.gz'
-- name: propose
SELECT symphony.record_proposal(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
-- name: approve
SELECT symphony.record_approval(%s, %s, %s, %s, %s, %s, %s)
-- name: activate
SELECT symphony.activate_release(%s, %s, %s, %s, %s, %s, %s, %s)
