-- name: propose
SELECT symphony.propose_emergency(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
-- name: act
SELECT symphony.act_on_emergency(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
-- name: log
SELECT symphony.log_emergency(%s, %s, %s) AS index
-- name: own_lock
SELECT symphony.evidence_lock_own(%s) AS seq
-- name: all
SELECT number, metadata_digest, metadata, proposer_key_id, actor, reason, created_at FROM symphony.emergency_releases
WHERE environment = %s AND (%s::bigint IS NULL OR number = %s) ORDER BY number DESC LIMIT 1000
-- name: acts
SELECT number, act, actor, actor_key_id, payload_sha256, envelope, signature, stands_over, opened_at, ends_at, review_by, at
FROM symphony.emergency_acts WHERE environment = %s AND number = ANY (%s::bigint[]) ORDER BY act_id
-- name: opened
-- Emergencies that were opened, and whether they were reviewed.
SELECT o.number, o.review_by,
    EXISTS (SELECT 1 FROM symphony.emergency_acts AS r
            WHERE (r.environment, r.number, r.act) = (o.environment, o.number, 'REVIEWED')) AS reviewed
FROM symphony.emergency_acts AS o WHERE o.environment = %s AND o.act = 'OPENED' ORDER BY o.number DESC
-- name: active
SELECT number FROM symphony.policy_versions WHERE environment = %s AND is_active
-- name: target
SELECT t.content FROM symphony.emergency_targets AS e JOIN symphony.tuf_targets AS t USING (sha256)
WHERE e.environment = %s AND e.number = %s AND e.path = %s
-- name: published_target
-- Nothing of a sealed release is served before it is opened.
SELECT t.content FROM symphony.emergency_targets AS e JOIN symphony.tuf_targets AS t USING (sha256)
WHERE e.environment = %s AND e.number = %s AND e.path = %s AND e.sha256 = %s
  AND EXISTS (SELECT 1 FROM symphony.emergency_acts AS a
              WHERE (a.environment, a.number, a.act) = (e.environment, e.number, 'OPENED'))
