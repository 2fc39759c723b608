"""The same payment by the usual means, to measure against: FastAPI, PyJWT, lxml, an OPA server, pooled psycopg.

One request does everything and answers when all of it is committed: token and proof of possession, schema facets,
Rego of the same files over the same data, exact daily caps, the durable rows of attestation, replay memory, instruction
with payload, outbox, attempts and terminal, and the balanced posting. One transaction a request; one uvicorn worker.

It is written to be quick and fair: uvloop, httptools and orjson, prepared statements, one round trip for a payment's
statements (pipeline), a kept pool, aiohttp with kept connections to OPA, schema compiled once, the key prepared once. What Symphony
does besides and this does not: a second verification in another process, permits, an adapter and a ledger as processes
with mTLS between them, gap-free numbers and signed, shipped, logged evidence, revocations, releases that are verified.
"""
