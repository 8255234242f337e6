"""The promises of the specification are answered by the numbers in the files, and by no others."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from benchmark.simulation import MACHINE

from detkit.benchmark import BenchmarkRun, Entry, Offline, Round

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks" / "headline.py").is_file(),
    reason="the comparison lies in the repository, not in the package",
)


@pytest.fixture
def headline(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.headline")


def write_ways(path: Path, speeds: dict[str, float], **machine: Any) -> None:
    """A file of `async_benchmark.py`: three rounds, each way at so many images a second."""
    names = {
        "synchronous loop": 40.0,
        "detect_batch, batch_size=32": 40.0,
        "detect_batch, max_workers=1": 40.0,
        "detect_batch, max_workers=4": 40.0,
        "video: loop": 40.0,
        "video: await each frame": 40.0,
        "video: stream": 40.0,
    }
    contestants = {
        name: {"num_items": 10, "rounds_s": [10 / speed] * 3}
        for name, speed in {**names, **speeds}.items()
    }
    facts = {
        "machine": {"cores": 2, **machine},
        "detector": "YOLOv8Detector(m: 3 classes, openvino bf16 on cpu)",
        "contestants": contestants,
    }
    path.write_text(json.dumps(facts))


def comparison(scenario: str, **rates: float) -> BenchmarkRun:
    titles = {"ours": "detkit, as it comes", "loop": "ultralytics, loop"}
    entries = [
        Entry(titles[n], (Round(10 / rate, 10),) * 8, facts={"scenario": scenario, "model": "m"})
        for n, rate in rates.items()
    ]
    return BenchmarkRun(Offline(), MACHINE, tuple(entries), 10)


def test_nothing_measured_is_said(headline: Any, tmp_path: Path) -> None:
    answers = headline.promises(tmp_path, {})
    assert [p.verdict for p in answers] == ["not measured"] * 4
    assert "not measured" in headline.full_table(answers).to_markdown()


def test_each_promise_is_answered_by_its_own_number(headline: Any, tmp_path: Path) -> None:
    write_ways(tmp_path / "async_benchmark.json", {"detect_batch, max_workers=4": 164.0})
    answers = headline.promises(tmp_path, {})
    assert [p.verdict for p in answers] == ["kept", "not kept here", "kept", "kept"]
    words = [p.measured[0].words for p in answers]
    assert words == [
        "4.10x (m, openvino bf16, 2 cores)",
        "1.00x (m, openvino bf16, 2 cores)",
        "25.0 ms awaited, 25.0 ms in a bare loop (m, openvino bf16, 2 cores)",
        "40 (frames in memory, m, openvino bf16, 2 cores)",
    ]


def test_another_machine_adds_its_numbers(headline: Any, tmp_path: Path) -> None:
    write_ways(tmp_path / "async_benchmark.json", {})
    fast = {"detect_batch, batch_size=32": 800.0}
    write_ways(tmp_path / "async_benchmark_x.json", fast, accelerators=["NVIDIA T4"])
    batches = headline.promises(tmp_path, {})[1]
    assert [m.words for m in batches.measured] == [
        "1.00x (m, openvino bf16, 2 cores)",
        "20.00x (m, openvino bf16, NVIDIA T4)",
    ]
    assert batches.verdict == "sometimes kept"


def test_the_comparison_bears_on_it_too(headline: Any, tmp_path: Path) -> None:
    runs = {
        "arrays": comparison("arrays", loop=10, ours=45),
        "video": comparison("video", loop=10, ours=29),
    }
    _, batches, _, frames = headline.promises(tmp_path, runs)
    assert batches.measured[0].words.startswith("4.50x (m, 2 cores, not by batching")
    assert [m.words for m in frames.measured] == ["29 (file to results, m, 2 cores)"]
    assert frames.verdict == "kept", "29 of 30 is within what two runs differ by"


def test_the_simulated_numbers_are_said_to_be_simulated(headline: Any, tmp_path: Path) -> None:
    facts = {
        "waiting_workers": {"four_workers_over_one": 3.9},
        "simulated_accelerator": {"speedup_over_loop": 18.0},
        "lone_call_added_latency": {"p50_ms": 0.1},
    }
    (tmp_path / "engine_benchmark.json").write_text(json.dumps(facts))
    workers, batches, latency, _ = headline.promises(tmp_path, {})
    for promise in (workers, batches):
        assert promise.verdict == "kept" and "simulated" in promise.measured[0].words
    assert "0.10 ms" in latency.measured[0].words
