"""Attacks whose tests stand beside the module that they are about; each row's code stands in its test."""

from __future__ import annotations

from tests.attacks.index import Attack

ELSEWHERE: list[Attack] = []
