"""The payments benchmark runs, both sides, and writes what issue 3 asks for; no time is judged here."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks import payments, workload
from symphony.stack.environment import load_template, manifests_in, template_of

FIGURES = (
    "payments_per_s", "baseline_payments_per_s", "ratio", "rows_per_payment", "p50_ms", "p99_ms", "sidecar_rss_mb",
    "load_generator_cpu_us_per_payment", "wal_bytes_per_payment",
)  # fmt: skip
PAYMENTS = 50


def test_both_sides_do_all_payments_and_every_figure_is_written(opa: Path, tmp_path: Path) -> None:
    said: list[str] = []
    output = tmp_path / "payments.json"
    payments.main(["--payments", str(PAYMENTS), "--levels", "8", "--output", str(output)], said.append)
    result = json.loads(output.read_text())
    assert all(isinstance(result[name], float | int) and result[name] > 0 for name in FIGURES), result
    assert result["other_cores_max"] >= 0
    assert result["ratio"] == round(result["payments_per_s"] / result["baseline_payments_per_s"], 2)
    assert result["rows_per_payment"] >= 11, "a payment has at least its eleven rows (design section 8)"
    assert result["postgres"]["fsync"] == result["postgres"]["synchronous_commit"] == "on"
    assert [one["payments"] for one in result["levels"] + result["baseline_levels"]] == [PAYMENTS] * 3
    ours = set(result["cpu_us_per_payment"])
    assert {"acceptor", "writer"} <= ours, "CPU is counted in ticks of 10 ms: small shares may not show"
    assert "app" in result["baseline_cpu_us_per_payment"]
    assert any("payments_per_s" in line for line in said)


def test_each_of_64_participants_sends_its_own_messages_to_others(tmp_path: Path) -> None:
    folder = workload.manifests_folder(tmp_path)
    template = load_template(template_of(folder))
    agents = [entry["agents"] for entry in template["participants"]]
    assert len(agents) == len({name for names in agents for name in names}) == workload.PARTICIPANTS >= 50
    assert all(re.fullmatch(r"[A-Z]{4}ZMLUXXX", names[0]) for names in agents)
    assert set(manifests_in(folder)) == {"reference-rail", "core-ledger"}
