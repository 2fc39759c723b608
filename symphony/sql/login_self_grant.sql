-- An owner may hand objects to the roles that its migrations make (SET), but does not inherit their rights.
ALTER ROLE {login} SET createrole_self_grant = 'set'
