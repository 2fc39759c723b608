"""The core ledger: append-only double entry between settlement accounts; it acts only on a valid permit.

    intake.py      POST /v1/postings, the hot path: permit, release, body, then the batch
    terms.py       what one release permits the ledger: keys, revocations, agents, currencies (pure)
    releases.py    which release a permit may name; following the control plane
    invariants.py  what must hold in the database before a release activates
    reporting.py   the ledger's status to the control plane
    batching.py    micro-batches: many requests, one commit
    refusals.py    the durable record of what was refused
    reading.py     GET /v1/postings, /v1/accounts, /v1/refusals, /health
    store/         every statement, in named .sql files; what a failed commit means
    app.py         the ASGI application     server.py  TLS, start, stop     config.py  every bound

It holds no policy of its own: what may be posted is decided by the sidecar under the release and proved by the permit.
"""
