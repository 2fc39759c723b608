"""A connection that ended in the middle is one line; any other fault keeps its trace."""

from __future__ import annotations

import asyncio
import logging

import pytest

from contracts.logs import brief


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("asyncio")
    logger.addFilter(brief)
    yield caplog
    logger.removeFilter(brief)


def report(message: str, error: Exception) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.call_exception_handler({"message": message, "exception": error, "protocol": object(), "transport": object()})
    finally:
        loop.close()


def test_a_connection_that_ended_while_tls_wrote_is_one_line(said: pytest.LogCaptureFixture) -> None:
    for error in (RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"), ConnectionError()):
        said.clear()
        report("Fatal error on SSL protocol", error)
        (record,) = said.records
        assert record.getMessage() == f"a connection ended in the middle: {type(error).__name__}"
        assert (record.levelname, record.exc_info) == ("WARNING", None)


def test_another_fault_keeps_its_trace(said: pytest.LogCaptureFixture) -> None:
    report("Task exception was never retrieved", RuntimeError("a defect"))
    report("Fatal error on SSL protocol", ValueError("a defect"))
    assert [(record.levelname, bool(record.exc_info)) for record in said.records] == [("ERROR", True)] * 2
