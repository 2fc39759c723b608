-- What the shipper says to the sidecar's database: two reads, and its only two writes.

-- name: shipping_state
SELECT symphony.shipping_state(%s)

-- name: read_evidence
SELECT stream_seq, leaf_hash, evidence FROM symphony.read_evidence(%s, %s)

-- name: seal_evidence_batch
SELECT symphony.seal_evidence_batch(%s, %s, %s, %s, %s, %s)

-- name: mark_shipped
SELECT symphony.mark_shipped(%s, %s, %s)
