-- After the demo's attack: what the operator's superuser does by hand. No service has these rights.

-- name: triggers_off
SET LOCAL session_replication_role = 'replica'

-- name: remove_forged
DELETE FROM symphony.tuf_metadata WHERE role = %s AND version = %s
