"""Release verification: what stock TUF holds, and everything that ``rules`` demands on top of it.

``ReleaseFollower`` is what a service runs; ``rules``, ``trust`` and ``contents`` are the pure core that officers and
the control plane use as well. The list of rules opens ``contracts.release.rules``.
"""

from contracts.release.follower import ReleaseFollower, SelfTest
from contracts.release.model import PinnedRoot, VerifiedRelease
from contracts.release.offline import load_held
from contracts.release.record import AcceptedRecord, FileRecord
from contracts.release.source import FolderSource, HttpsSource, NotThere, ReleaseSource
from contracts.release.trust import Custodians

__all__ = [
    "AcceptedRecord",
    "Custodians",
    "FileRecord",
    "FolderSource",
    "HttpsSource",
    "NotThere",
    "PinnedRoot",
    "ReleaseFollower",
    "ReleaseSource",
    "SelfTest",
    "VerifiedRelease",
    "load_held",
]
