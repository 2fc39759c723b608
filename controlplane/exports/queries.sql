-- name: period
-- The log indices of the records of a period, within the checkpoint's tree.
SELECT min(index) AS first, max(index) + 1 AS behind FROM symphony.log_leaves
WHERE index < %s AND recorded_at >= %s AND recorded_at < %s

-- name: batch_around
-- The batch that carries a log index.
SELECT first_index, first_index + last_seq - first_seq + 1 AS behind FROM symphony.evidence_batches
WHERE first_index <= %s ORDER BY first_index DESC LIMIT 1

-- name: batches
-- Sealed batches in log order.
SELECT first_index, body, signature FROM symphony.evidence_batches
WHERE first_index >= %s AND first_index < %s ORDER BY first_index LIMIT %s

-- name: heartbeats
-- The signed heartbeats for given counters.
SELECT h.stream, h.body, h.signature FROM unnest(%s::text[], %s::bigint[]) AS n (stream, last_seq)
JOIN symphony.evidence_heartbeats AS h ON h.stream = n.stream AND h.last_seq = n.last_seq ORDER BY h.stream

-- name: roles
-- Role versions that the log holds at the checkpoint, of these roles.
SELECT m.role, m.version, m.content FROM symphony.log_release_metadata AS l
JOIN symphony.tuf_metadata AS m ON m.role = l.role AND m.version = l.version
WHERE l.index < %s AND m.role = ANY (%s::text[]) ORDER BY m.role, m.version

-- name: targets
-- Small targets of published releases that a verifier or reader needs.
SELECT t.number, t.path, c.content FROM symphony.release_targets AS t
JOIN symphony.log_release_metadata AS l ON l.role = t.environment AND l.version = t.number AND l.index < %s
JOIN symphony.tuf_targets AS c ON c.sha256 = t.sha256
WHERE t.environment = %s AND t.path = ANY (%s::text[]) ORDER BY t.number, t.path

-- name: alive
-- Living streams (heard within three heartbeats) whose newest heartbeat is older than a moment.
SELECT count(*) AS waiting FROM symphony.evidence_streams
WHERE heartbeat_at > clock_timestamp() - interval '15 seconds' AND heartbeat_at < %s
