-- The schema public stays empty (INV-006).
REVOKE ALL ON SCHEMA public FROM PUBLIC
