-- Fail the deployment rather than block it (MIG-08).
SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)
