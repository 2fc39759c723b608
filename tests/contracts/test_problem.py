"""Problem documents: RFC 9457 with a code of the closed list."""

from __future__ import annotations

import json

import pytest

from contracts.errors import Refused
from contracts.problem import DETAIL_CHARACTERS_MAX, problem, problem_of
from contracts.reasons import REASONS

MEMBERS = {"type", "title", "status", "detail", "reason_code", "iso_reason", "next_step", "retryable", "correlation_id"}


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_code_has_a_document_with_all_members(code):
    status, body = problem(code, correlation_id="c-1")
    document = json.loads(body)
    assert set(document) == MEMBERS
    assert document["status"] == status == REASONS[code].http
    assert document["reason_code"] == code
    assert all(document[member] != "" for member in MEMBERS)


def test_an_errors_own_next_step_and_detail_are_told_and_cut():
    _, body = problem_of(Refused("NOT_FOUND", "x" * 1000 + "\ud800", next_step="look elsewhere"), "c-2")
    document = json.loads(body)
    assert document["next_step"] == "look elsewhere"
    assert len(document["detail"]) == DETAIL_CHARACTERS_MAX


def test_what_utf8_cannot_carry_is_replaced():
    assert json.loads(problem("NOT_FOUND", "\ud800")[1])["detail"] == "?"


def test_a_code_outside_the_list_is_a_defect():
    with pytest.raises(KeyError):
        problem("NO_SUCH_CODE")
