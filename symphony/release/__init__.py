"""The officers' side of a release: key ceremony, propose, approve, promote, roll back (design section 4).

Everything is checked and signed on the officer's own machine; no key is ever used by a page that the server serves.
"""

from symphony.release.approve import Review, approve, review
from symphony.release.ceremony import Ceremony
from symphony.release.client import ControlPlane, Officer
from symphony.release.gate import sign_gate
from symphony.release.promote import promote
from symphony.release.propose import Draft, collect, propose
from symphony.release.revoke import publish_revocations
from symphony.release.rollback import rollback

__all__ = [
    "Ceremony",
    "ControlPlane",
    "Draft",
    "Officer",
    "Review",
    "approve",
    "collect",
    "promote",
    "propose",
    "publish_revocations",
    "review",
    "rollback",
    "sign_gate",
]
