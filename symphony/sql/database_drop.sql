-- A scratch database goes, and whoever is in it.
DROP DATABASE IF EXISTS {database} WITH (FORCE)
