-- name: report
SELECT symphony.report_opa_status(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
-- name: record
SELECT symphony.record_opa_decisions(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS new
-- name: status
SELECT s.service, s.instance, s.environment, s.version, s.active_revision, s.activated_at, s.bundle_code, s.bundle_message,
    s.decision_log_code, s.last_seen
FROM symphony.opa_status AS s ORDER BY s.service, s.instance LIMIT 10000
-- name: decisions
SELECT d.decision_id, d.instance, u.environment, d.path, d.revision, d.input_sha256, d.input_masked, d.allowed, d.denied,
    d.failed, d.decided_at, u.at AS received_at
FROM symphony.opa_decisions AS d JOIN symphony.opa_uploads AS u USING (upload_id)
WHERE d.service = %s ORDER BY d.upload_id DESC, d.decided_at DESC, d.decision_id LIMIT %s
