-- Deny by default (INV-005): nobody connects or makes temporary tables unless named; no login has rights in two databases.
REVOKE ALL ON DATABASE {database} FROM PUBLIC
