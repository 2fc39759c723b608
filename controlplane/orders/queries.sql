-- name: lock
-- One change at a time.
SELECT symphony.lock_orders()

-- name: after
-- The entries after a position, oldest first.
SELECT position, envelope FROM symphony.orders WHERE environment = %s AND position > %s ORDER BY position LIMIT %s

-- name: last
-- The last position; 0 for none.
SELECT coalesce(max(position), 0) AS last FROM symphony.orders WHERE environment = %s

-- name: all
-- Every entry as it is shown, by number.
SELECT number, is_lift, order_sha256, envelope, actor, recorded_at FROM symphony.orders WHERE environment = %s
ORDER BY number, is_lift LIMIT 20000

-- name: one
-- An order, or its lift.
SELECT order_sha256, envelope FROM symphony.orders WHERE environment = %s AND number = %s AND is_lift = %s

-- name: highest
-- The highest number; 0 for none.
SELECT coalesce(max(number), 0) AS number FROM symphony.orders WHERE environment = %s

-- name: signatures
-- Officers' signatures over a lift on its way, oldest first.
SELECT payload, key_id, signature, actor, signed_at FROM symphony.order_lift_signatures
WHERE environment = %s AND number = %s ORDER BY signed_at, key_id

-- name: sign
-- One officer's signature over a lift.
SELECT symphony.sign_order_lift(%s, %s, %s, %s, %s, %s)

-- name: own_lock
-- The number of the control plane's own next record.
SELECT symphony.evidence_lock_own(%s) AS seq

-- name: record
-- An order or a complete lift, with its leaf.
SELECT symphony.record_order(%s, %s, %s, %s, %s, %s, %s, %s, %s) AS position

-- name: documents
-- Environment data and manifests of the active release, which name what an order may speak of.
SELECT r.path, t.content FROM symphony.policy_versions AS v
JOIN symphony.release_targets AS r USING (environment, number)
JOIN symphony.tuf_targets AS t USING (sha256)
WHERE v.environment = %s AND v.is_active AND (r.path = 'environment.json' OR r.path LIKE 'services/%%')
