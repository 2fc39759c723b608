"""Evidence packets: the one-file verifier and what is computed from a packet's records (EVD-08, EVD-12).

``verifier_source()`` is ``verify.py``, joined from ``parts`` (standard library and ``cryptography`` only).
``verify_folder(path, root_bytes)`` runs the same checks in this process; ``show_result`` prints them.
"""

from symphony.packet.build import verifier_source
from symphony.packet.parts.findings import Findings
from symphony.packet.parts.main import show_result, verify_folder

__all__ = ["Findings", "show_result", "verifier_source", "verify_folder"]
