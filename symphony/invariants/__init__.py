"""Invariants: the manifest, the checks that run, their proof files, the signed result (design section 10).

manifest   read and held to its schema and to the checkout (``enforced_by`` and ``verified_by`` exist)
documents  the YAML files of a manifest; existence: what they name is there; exceptions: timeboxed, never a silent green
checks     SQL against live schemas, and functions
run        every check of every implemented invariant; PASS, FAIL, ERROR or EXCEPTED, never PASS for what was not seen
proofs     one JSON per invariant and an index, validated before they are written; anchors: what they hang on
"""

from symphony.invariants.manifest import Invariant, Manifest, load_manifest, release_form
from symphony.invariants.run import Report, Result, check

__all__ = ["Invariant", "Manifest", "Report", "Result", "check", "load_manifest", "release_form"]
