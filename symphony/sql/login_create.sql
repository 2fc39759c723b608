-- A login without any right of its own; what it may do comes from the NOLOGIN roles that it may assume (INV-007).
CREATE ROLE {login} LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOBYPASSRLS NOREPLICATION
