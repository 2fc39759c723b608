-- A role that a repository's migrations expect to find.
CREATE ROLE {role} NOLOGIN
