"""PostgreSQL of the control plane: a small bounded pool, one role per transaction, SQL from named files."""

from controlplane.store.database import Database
from controlplane.store.queries import queries

__all__ = ["Database", "queries"]
