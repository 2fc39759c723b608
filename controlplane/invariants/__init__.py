"""What the control plane asks of its own database and keys while it runs, and what it does when it is halted."""

from controlplane.invariants.halting import Halting
from controlplane.invariants.services import REGISTRY, of_controlplane

__all__ = ["REGISTRY", "Halting", "of_controlplane"]
