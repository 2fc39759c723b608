"""What the control plane says by itself is bound by the checkpoint alone; what a sidecar says is never without its batch."""

from __future__ import annotations

import pytest

from symphony.packet.parts.findings import MISSING, Findings
from symphony.packet.parts.log import LogPart
from symphony.packet.parts.streams import check_numbers
from symphony.packet.parts.trust import TrustedKeys


def found_of(stream: str, kind: str) -> list[tuple[str, str]]:
    """The faults of a packet with one record that no batch carries."""
    document = {"schema": f"symphony.evidence/{kind}/1", "stream": stream, "seq": 1, "environment": "sandbox"}
    findings = Findings()
    check_numbers(LogPart(0, 1, [b""], [b""], {0: document}, {0: (stream, 1)}), [], TrustedKeys("sandbox"), findings)
    return list(findings.faults)


@pytest.mark.parametrize("kind", ["release_metadata", "order"])
def test_the_control_planes_own_record_needs_no_batch(kind: str) -> None:
    assert found_of("controlplane", kind) == []


@pytest.mark.parametrize(("stream", "kind"), [("rail", "order"), ("rail", "release_metadata"), ("controlplane", "attempt")])
def test_any_other_record_without_a_batch_is_a_fault(stream: str, kind: str) -> None:
    assert [fault for fault, _ in found_of(stream, kind)] == [MISSING]
