"""Tables say what was measured, and what the commands return can be written as JSON."""

from __future__ import annotations

import json
import math

import numpy as np
from benchmark.simulation import MACHINE, noisy_pair

from detkit.benchmark import BenchmarkRun, Entry, Offline, Round, Server, benchmark
from detkit.benchmark.commands import bench, tune_settings
from detkit.benchmark.tables import Table, remarks, run_table, stage_table
from detkit.testing import FakeDetector, numbered_image

IMAGES = [numbered_image(n) for n in range(6)]


def run_of(*entries: Entry) -> BenchmarkRun:
    return BenchmarkRun(Offline(), MACHINE, entries, 10, run_id="r")


STAGES = {"decode": 0.01, "inference": 0.08}
GOOD = Entry("good", (Round(0.1, 10, latencies_s=(0.1,), cpu_s=0.2, stages_s=STAGES),) * 8)
SLOW = Entry("slow | odd\nname", (Round(0.2, 10, latencies_s=(0.2,), cpu_s=0.2),) * 8)
GONE = Entry("gone", (None,) * 8, error="ImportError: no such thing")


def test_a_run_as_a_table() -> None:
    table = run_table(run_of(GOOD, SLOW, GONE))
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["images/s"].startswith("100.0") and cells["p50 ms"] == "100.0"
    assert cells["core-s/image"] == "0.0200" and cells["beside good"] == "baseline"
    assert table.rows[1][-1] == "0.50x [0.50, 0.50] slower"
    assert table.rows[2][-1] == "ImportError: no such thing"
    text = table.to_text().splitlines()
    assert len({len(line) for line in text[2:3]}) == 1
    assert text[0] == "offline: 10 images a round, 8 rounds"


def test_markdown_is_escaped() -> None:
    lines = run_table(run_of(GOOD, SLOW)).to_markdown().splitlines()
    assert len(lines) == 4 and lines[1].startswith("|---|---:|")
    assert "slow \\| odd name" in lines[3]


def test_stages_that_nobody_told_are_blank() -> None:
    table = stage_table(run_of(GOOD, SLOW))
    assert table.header == ("contestant", "decode", "inference")
    assert table.rows[0][1:] == ("1.00", "8.00") and table.rows[1][1:] == ("–", "–")


def test_a_run_without_any_numbers_is_still_a_table() -> None:
    assert run_table(run_of(GONE)).rows[0][0] == "gone"
    assert Table("t", ("a",), ()).to_text() == "t\na\n-"


def test_remarks_tell_of_drift_failures_and_lateness() -> None:
    throttled = noisy_pair(1, 1.0, lambda n: 1.0 if n < 10 else 1.6)
    images = [np.zeros((2, 2, 3), np.uint8)] * 8
    run = benchmark(throttled[0], images, instruments=throttled[1], machine=MACHINE)
    assert any("slower during the run" in line for line in remarks(run))
    late = Round(1.0, 9, 1, latencies_s=(0.2,) * 9, num_late=9, first_error="ValueError: x")
    entry = Entry("x", (late,), is_paced=True)
    lines = remarks(BenchmarkRun(Server(), MACHINE, (entry,), 10, notes=("a note",)))
    assert "x: 1 images failed (ValueError: x)" in lines
    assert "x: 100% of answers were late" in lines and lines[-1] == "a note"


def strict_json(facts: object) -> str:
    return json.dumps(facts, allow_nan=False)


def test_bench_returns_tables_and_json() -> None:
    output = bench(FakeDetector(fail_on={2}), IMAGES, rounds=2, max_workers=2, batch_size=2)
    assert [row[0] for row in output.tables[0].rows] == ["loop", "AsyncDetector"]
    assert '"schema_version": 1' in strict_json(output.facts)
    assert any("told to fail" in line for line in output.lines)


def test_bench_of_a_detector_that_always_fails() -> None:
    output = bench(FakeDetector(fail_on=set(range(6))), IMAGES, rounds=2)
    assert "every image failed" in output.tables[0].rows[0][-1]
    strict_json(output.facts)


def test_tune_returns_a_table_and_json() -> None:
    output = tune_settings(FakeDetector(), IMAGES, seconds=0.2, use_cache=False)
    assert output.tables[0].header[0] == "setting" and len(output.tables[0].rows) > 1
    assert output.lines[-1].startswith("AsyncDetector(detector, ")
    assert not math.isnan(json.loads(strict_json(output.facts))["elapsed_s"])
