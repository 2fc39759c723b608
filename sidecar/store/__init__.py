"""The writer's one connection to the service's database: fenced, numbered, one transaction at a time."""

from sidecar.store.errors import BreakerOpen, Fenced, LeaseLost, StoreConflict, StoreUnavailable
from sidecar.store.store import Numbers, WriterStore

__all__ = ["BreakerOpen", "Fenced", "LeaseLost", "Numbers", "StoreConflict", "StoreUnavailable", "WriterStore"]
