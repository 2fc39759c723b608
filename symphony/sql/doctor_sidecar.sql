-- Where a sidecar stands, in one row.
SELECT (SELECT max(number) FROM symphony.accepted_releases) AS release,
    (SELECT max(epoch) FROM symphony.writer_epochs) AS epoch,
    (SELECT max(next_seq) - 1 FROM symphony.writer_epochs) AS last_seq,
    (SELECT coalesce(sum(symphony.evidence_backlog(stream)), 0)::bigint FROM symphony.writer_epochs) AS evidence_backlog,
    (SELECT count(*) FROM symphony.payment_instructions WHERE decision = 'ALLOW') AS accepted,
    (SELECT count(*) FROM symphony.payment_instructions WHERE decision = 'REFUSED') AS refused,
    (SELECT count(*) FROM symphony.payment_terminals) AS ended,
    (SELECT count(*) FROM symphony.payment_terminals WHERE state = 'DISPATCHED') AS dispatched,
    (SELECT count(*) FROM symphony.payment_outbox_pending) AS pending,
    (SELECT count(*) FROM symphony.outbox_leases) AS leased,
    (SELECT min(expires_at) FROM symphony.outbox_leases) AS lease_expires_at,
    (SELECT count(*) FROM symphony.parked) AS parked
