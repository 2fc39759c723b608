"""SQL by name, see ``contracts.named_sql``."""

from contracts.named_sql import queries

__all__ = ["queries"]
