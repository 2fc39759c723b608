-- name: append
-- One sealed batch, verified before; outcome is appended, repeated, gap or forked.
SELECT outcome, last_seq, first_index
FROM symphony.evidence_append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)

-- name: heartbeat
-- One signed counter; gives what is logged of the stream.
SELECT symphony.evidence_heartbeat(%s, %s, %s, %s, %s) AS last_seq

-- name: own_lock
-- The number of the control plane's own next record.
SELECT symphony.evidence_lock_own(%s) AS seq

-- name: own_known
-- The digest under which a version of a role was logged.
SELECT sha256 FROM symphony.log_release_metadata WHERE role = %s AND version = %s

-- name: own_log
-- One version of a TUF role as a leaf.
SELECT symphony.log_role_version(%s, %s, %s, %s, %s, %s) AS index

-- name: own_event
-- What happened to a release as a leaf.
SELECT symphony.log_release_event(%s, %s, %s) AS index

-- name: environment_data
-- Environment data of every release that is or was active, newest first.
SELECT v.number, t.sha256
FROM symphony.policy_versions AS v
JOIN symphony.release_targets AS t ON t.environment = v.environment AND t.number = v.number
WHERE v.environment = %s AND v.activated_at IS NOT NULL
  AND t.path IN ('environment.json', v.environment || '/' || v.number || '/environment.json')
ORDER BY v.number DESC

-- name: target
-- The bytes of a target by digest.
SELECT content FROM symphony.tuf_targets WHERE sha256 = %s

-- name: newest_role
-- The newest published version of a role.
SELECT version, content FROM symphony.tuf_metadata WHERE role = %s ORDER BY version DESC LIMIT 1

-- name: head
-- The tree's right edge and every stream's counters, in one snapshot.
SELECT h.size, h.edge,
       ARRAY(SELECT s.stream FROM symphony.evidence_streams AS s ORDER BY s.stream) AS streams,
       ARRAY(SELECT s.last_seq FROM symphony.evidence_streams AS s ORDER BY s.stream) AS logged,
       ARRAY(SELECT s.signed_seq FROM symphony.evidence_streams AS s ORDER BY s.stream) AS signed
FROM symphony.log_head AS h

-- name: newest_checkpoint
-- The newest signed checkpoint.
SELECT number, size, root, streams, note, made_at FROM symphony.log_checkpoints ORDER BY number DESC LIMIT 1

-- name: add_checkpoint
-- Keep a signed checkpoint.
SELECT symphony.log_add_checkpoint(%s, %s, %s, %s)

-- name: leaf_hashes
-- Leaf hashes from an index on.
SELECT leaf_hash AS hash FROM symphony.log_leaves WHERE index >= %s AND index < %s ORDER BY index

-- name: node_hashes
-- Tile tops of a level from an index on.
SELECT hash FROM symphony.log_nodes WHERE level = %s AND index >= %s AND index < %s ORDER BY index

-- name: records
-- Records from a log index on.
SELECT index, stream, seq, kind, leaf_hash, record FROM symphony.log_leaves
WHERE index >= %s AND index < %s ORDER BY index

-- name: records_of_instruction
-- Every record that speaks of an instruction.
SELECT l.index, l.stream, l.seq, l.kind, l.leaf_hash, l.record
FROM symphony.log_subjects AS s JOIN symphony.log_leaves AS l ON l.index = s.index
WHERE s.instruction_id = %s ORDER BY l.index LIMIT 1000

-- name: record_of_stream
-- One record by stream and number.
SELECT index, stream, seq, kind, leaf_hash, record FROM symphony.log_leaves WHERE stream = %s AND seq = %s

-- name: streams
-- What is logged, signed for and last heard of each stream.
SELECT stream, environment, epoch, last_seq, signed_seq, heartbeat_at FROM symphony.evidence_streams ORDER BY stream
