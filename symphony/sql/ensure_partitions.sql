-- Monthly partitions of the sidecar's database: this month and some ahead, by the database's clock.
SELECT symphony.ensure_partitions((clock_timestamp() AT TIME ZONE 'UTC')::date, %s)
