-- Its password (hashed by the server with SCRAM) and, for an owner, leave to make the NOLOGIN roles of its migrations.
ALTER ROLE {login} PASSWORD {password} {createrole}
