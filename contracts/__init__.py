"""What both sides and third parties rely on: formats, reason codes, permits, proofs, release verification.

Imports no side (design section 11). Everything here is a pure function over values, except
``contracts.release``, which reads a release folder and a TUF repository.
"""
