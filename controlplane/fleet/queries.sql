-- name: report
SELECT symphony.report_delivery(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
-- name: fleet
SELECT s.environment, s.service, s.instance, v.number AS desired_number, v.metadata_digest AS desired_digest,
    s.delivered_number, s.active_number, s.active_digest, s.refused_number, s.refused_code, s.refused_permanent, s.ready,
    s.mode, s.lease_expires_at, s.last_seen,
    clock_timestamp() - s.last_seen > make_interval(secs => %s) AS silent
FROM symphony.fleet_status AS s
LEFT JOIN symphony.policy_versions AS v ON v.environment = s.environment AND v.is_active
ORDER BY s.environment, s.service, s.instance LIMIT 10000
-- name: events
SELECT active_number, active_digest, refused_number, refused_code, ready, mode, at FROM symphony.fleet_events
WHERE environment = %s AND service = %s ORDER BY event_id DESC LIMIT 200
