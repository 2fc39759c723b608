"""What a check of a policy came to, and the report of all of them (exit codes: design section 12)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PASS, FAIL, ERROR, SKIP = "PASS", "FAIL", "ERROR", "SKIP"
VIOLATED, COULD_NOT_EVALUATE, NOTHING_TESTED, COVERAGE_TOO_LOW = 1, 3, 4, 8
_WORST_FIRST = (COULD_NOT_EVALUATE, VIOLATED, NOTHING_TESTED, COVERAGE_TOO_LOW)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, and what to change."""

    text: str
    change: str
    file: str = ""
    line: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"text": self.text, "change": self.change, "file": self.file, "line": self.line}


@dataclass(frozen=True, slots=True)
class Result:
    """One check: its verdict, the exit code that it asks for, its findings and figures."""

    name: str
    title: str
    verdict: str
    code: int = 0
    findings: tuple[Finding, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "check": self.name, "title": self.title, "result": self.verdict, "seconds": round(self.seconds, 3),
            "figures": self.figures, "findings": [one.document() for one in self.findings],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one policy; ``rego_sha256`` and ``wasm_sha256`` say of which (empty where none was built)."""

    results: tuple[Result, ...]
    rego_sha256: str = ""
    wasm_sha256: str = ""

    @property
    def exit_code(self) -> int:
        """0, 1, 3, 4 or 8: the first of could not evaluate, violated, nothing tested, coverage. Never 0 by silence."""
        codes = {one.code for one in self.results}
        if any(code for code in codes):
            return next(code for code in _WORST_FIRST if code in codes)
        return 0 if any(one.verdict == PASS for one in self.results) else NOTHING_TESTED

    def document(self) -> dict[str, Any]:
        """As JSON (``symphony.policy_report/1``): small enough to be kept beside a proposal."""
        return {
            "schema": "symphony.policy_report/1", "exit_code": self.exit_code, "rego_sha256": self.rego_sha256,
            "wasm_sha256": self.wasm_sha256, "results": [one.document() for one in self.results],
        }  # fmt: skip


def passed(name: str, title: str, **figures: Any) -> Result:
    """A check that holds."""
    return Result(name, title, PASS, figures=figures)


def failed(name: str, title: str, findings: list[Finding], code: int = VIOLATED, **figures: Any) -> Result:
    """A check that does not hold."""
    return Result(name, title, FAIL, code, tuple(findings), figures)


def not_evaluated(
    name: str, title: str, text: str, change: str, code: int = COULD_NOT_EVALUATE, **figures: Any
) -> Result:
    """A check that could not be made; it claims nothing."""
    return Result(name, title, ERROR, code, (Finding(text, change),), figures)


def skipped(name: str, title: str, why: str) -> Result:
    """A check that waits for another one to pass, which says the exit code."""
    return Result(name, title, SKIP, findings=(Finding(why, "mend that first"),))
