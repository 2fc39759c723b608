-- name: enrol
SELECT symphony.enrol_principal(%s, %s, %s, %s)
-- name: by_certificate
SELECT kind, name, key_id FROM symphony.principals WHERE certificate_sha256 = %s
-- name: officer_by_key
SELECT kind, name, key_id FROM symphony.principals WHERE key_id = %s AND kind = 'officer' ORDER BY enrolled_at DESC LIMIT 1
