"""The writer's one connection to the service's database: fenced, numbered, one transaction at a time."""

from sidecar.store.errors import Fenced, LeaseLost, StoreConflict, StoreUnavailable
from sidecar.store.store import Numbers, WriterStore

__all__ = ["Fenced", "LeaseLost", "Numbers", "StoreConflict", "StoreUnavailable", "WriterStore"]
