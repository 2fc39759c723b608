"""Evidence intake and the transparency log (EVD-01, EVD-08, D15): every stream's sealed batches, in one Merkle tree.

``intake`` takes batches and heartbeats, ``log`` answers tiles and proofs, ``checkpoints`` signs the tree head,
``own`` logs every version of every TUF role, ``keys`` knows who may sign for a stream.
Who owns this database can withhold evidence; he cannot change or invent any without a verifier seeing it, unless he
holds the sidecars' evidence keys and the log key too, and no witness has cosigned.
"""
