"""How every process of ours logs: one line an event, to standard error; never a payload, a secret or a peer's bytes.

A connection that ends while TLS still writes to it is an event, not a fault: uvloop raises inside its own callbacks then,
and asyncio would log that with a stack trace.
"""

from __future__ import annotations

import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


def set_up() -> None:
    """Once, at the start of a process."""
    logging.basicConfig(level=logging.INFO, format=FORMAT)
    logging.getLogger("tuf").setLevel(logging.WARNING)  # it logs each key of a threshold that did not sign
    logging.getLogger("asyncio").addFilter(brief)


def brief(record: logging.LogRecord) -> bool:
    """A filter that takes the trace from what asyncio says of connections that ended in the middle."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, RuntimeError | OSError) and str(record.msg).startswith("Fatal error on "):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args, record.exc_info = "a connection ended in the middle: %s", (type(error).__name__,), None
    return True
