-- name: lock
SELECT symphony.lock_repository()
-- name: newest
SELECT DISTINCT ON (role) role, version, content, sha256 FROM symphony.tuf_metadata ORDER BY role, version DESC
-- name: newest_of
SELECT version, content FROM symphony.tuf_metadata WHERE role = %s ORDER BY version DESC LIMIT 1
-- name: version_of
SELECT version, content FROM symphony.tuf_metadata WHERE role = %s AND version = %s
-- name: publish
SELECT symphony.publish_metadata(%s, %s, %s)
-- name: to_log
SELECT role, version, sha256 FROM symphony.tuf_metadata WHERE role <> 'timestamp' ORDER BY published_at, role, version
-- name: newest_snapshot
SELECT coalesce(max(version), 0) AS version FROM symphony.tuf_metadata WHERE role = 'snapshot'
