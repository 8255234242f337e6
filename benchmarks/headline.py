"""The specification's four promises of speed, each answered by what was measured.

Reads the files of `results/`, whichever are there; measures nothing. A file that was measured on
another machine or model, such as `async_benchmark_yolov8n.json`, adds its numbers beside the rest.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measurement import Timing
from detkit.benchmark import BenchmarkRun
from detkit.benchmark.tables import Table

_OURS = "detkit, as it comes"
_LOOP = "ultralytics, loop"
# A promise counts as kept from here on: medians of short runs differ by as much.
_NEARLY = 0.95


@dataclass(frozen=True)
class Measured:
    """One number that bears on a promise.

    Attributes:
        words: The number and what it is of.
        is_kept: Whether it keeps the promise.
    """

    words: str
    is_kept: bool


@dataclass(frozen=True)
class Promise:
    """One line of the specification's table.

    Attributes:
        claim: What was promised.
        measured: What was measured; empty if nothing was.
        holds: Where it holds.
        fails: Where it does not.
    """

    claim: str
    measured: tuple[Measured, ...]
    holds: str
    fails: str

    @property
    def verdict(self) -> str:
        """In a word or two."""
        kept = [number.is_kept for number in self.measured]
        if not kept:
            return "not measured"
        return "kept" if all(kept) else "sometimes kept" if any(kept) else "not kept here"


def promises(folder: Path, comparisons: dict[str, BenchmarkRun]) -> list[Promise]:
    """The four, answered from the files of a folder.

    Args:
        folder: Where `engine_benchmark.json` and `async_benchmark*.json` are.
        comparisons: Runs of the comparison by name, such as "video".
    """
    ways = [Ways.load(path) for path in sorted(folder.glob("async_benchmark*.json"))]
    engine = _read(folder / "engine_benchmark.json")
    return [
        _workers(ways, engine, comparisons),
        _batches(ways, engine, comparisons),
        _latency(ways, engine),
        _frames(ways, comparisons),
    ]


def full_table(answers: list[Promise]) -> Table:
    """Every number, and the conditions."""
    rows = tuple(
        (p.claim, p.verdict, "; ".join(m.words for m in p.measured), p.holds, p.fails)
        for p in answers
    )
    header = ("promised", "answer", "measured", "holds", "does not hold")
    return Table("The promises of the specification", header, rows)


def short_table(answers: list[Promise]) -> Table:
    """For the README: the numbers without the conditions."""
    rows = tuple((p.claim, p.verdict, "; ".join(m.words for m in p.measured)) for p in answers)
    return Table("The promises of the specification", ("promised", "answer", "measured"), rows)


@dataclass(frozen=True)
class Ways:
    """What `async_benchmark.py` wrote: every way of calling one detector on one machine."""

    label: str
    timings: dict[str, Timing]

    @classmethod
    def load(cls, path: Path) -> Ways:
        """Read one file."""
        facts = _read(path)
        timings = {
            name: Timing(name, one["num_items"], tuple(one["rounds_s"]))
            for name, one in facts["contestants"].items()
        }
        machine = facts["machine"]
        where = ", ".join(machine.get("accelerators") or [f"{machine['cores']} cores"])
        return cls(f"{_short_name(facts['detector'])}, {where}", timings)

    def ratio(self, name: str, other: str) -> float:
        """How many times faster one way is than another."""
        return self.timings[name].speedup_over(self.timings[other])

    def milliseconds(self, name: str) -> float:
        """Per image, in the median round."""
        return 1000 / self.timings[name].per_second


def _workers(
    ways: list[Ways], engine: dict[str, Any], comparisons: dict[str, BenchmarkRun]
) -> Promise:
    found = [
        (w.ratio("detect_batch, max_workers=4", "detect_batch, max_workers=1"), w.label)
        for w in ways
    ]
    if engine:
        ratio = engine["waiting_workers"]["four_workers_over_one"]
        found.append((ratio, "a detector that waits 20 ms for each image, simulated"))
    for run in comparisons.values():
        ratio = _ratio(run, "ultralytics, a model per thread", _LOOP)
        if ratio is not None:
            found.append((ratio, f"torch, a model per thread, {run.machine.cores} cores"))
    return Promise(
        "4x with 4 workers",
        tuple(Measured(f"{ratio:.2f}x ({what})", ratio >= 4 * _NEARLY) for ratio, what in found),
        "where a call leaves the machine idle: a detector that waits for a server or a device, or "
        "one that uses a single core, up to the number of cores",
        "where one call already uses every core, as OpenVINO and torch do by themselves, or where "
        "there are fewer than four cores",
    )


def _batches(
    ways: list[Ways], engine: dict[str, Any], comparisons: dict[str, BenchmarkRun]
) -> Promise:
    found = [(w.ratio("detect_batch, batch_size=32", "synchronous loop"), w.label) for w in ways]
    if engine:
        ratio = engine["simulated_accelerator"]["speedup_over_loop"]
        found.append((ratio, "20 ms a call and 0.5 ms an image, simulated"))
    for run in comparisons.values():
        ratio = _ratio(run, _OURS, _LOOP)
        if ratio is not None:
            what = f"{_model(run)} {run.machine.cores} cores, not by batching: against ultralytics"
            found.append((ratio, what))
    return Promise(
        "14x for large batches",
        tuple(Measured(f"{ratio:.2f}x ({what})", ratio >= 14 * _NEARLY) for ratio, what in found),
        "where a call costs much more than one more image in it: GPUs, remote calls",
        "on a CPU, where each image costs the same arithmetic in whatever company; there the "
        "library and the precision are the win",
    )


def _latency(ways: list[Ways], engine: dict[str, Any]) -> Promise:
    found = []
    for w in ways:
        took, alone = w.milliseconds("video: await each frame"), w.milliseconds("video: loop")
        words = f"{took:.1f} ms awaited, {alone:.1f} ms in a bare loop ({w.label})"
        found.append(Measured(words, took <= 25 / _NEARLY))
    if engine:
        added = engine["lone_call_added_latency"]["p50_ms"]
        found.append(Measured(f"of which the engine takes {added:.2f} ms", added <= 1))
    return Promise(
        "about 25 ms latency, as a single detection",
        tuple(found),
        "for a caller without company, who waits for nobody; the model and the processor decide",
        "with more callers at once than the machine can serve: each waits for those before it",
    )


def _frames(ways: list[Ways], comparisons: dict[str, BenchmarkRun]) -> Promise:
    found = [(w.timings["video: stream"].per_second, f"frames in memory, {w.label}") for w in ways]
    found += [
        (
            run[_OURS].images_per_s().value,
            f"file to results, {_model(run)} {run.machine.cores} cores",
        )
        for name, run in comparisons.items()
        if name.startswith("video") and _OURS in run.names and run[_OURS].has_numbers
    ]
    return Promise(
        "30 and more frames per second of video",
        tuple(Measured(f"{rate:.0f} ({what})", rate >= 30 * _NEARLY) for rate, what in found),
        "with YOLOv8n at 1280 x 720 on two cores with bfloat16, and on anything faster",
        "in float32 on as few cores, or with larger models: drop frames or take a GPU",
    )


def _ratio(run: BenchmarkRun, name: str, other: str) -> float | None:
    """How many times faster, in a run of images in memory; None if one of them is missing."""
    names = [entry.name for entry in run if entry.has_numbers]
    if run.entries[0].facts.get("scenario") != "arrays" or not {name, other} <= set(names):
        return None
    return run[name].images_per_s().value / run[other].images_per_s().value


def _model(run: BenchmarkRun) -> str:
    model = run.entries[0].facts.get("model", "")
    return f"{model}," if model else ""


def _short_name(detector: str) -> str:
    """`parts, openvino bf16` of `YOLOv8Detector(parts: 6 classes, openvino bf16 on cpu)`."""
    found = re.fullmatch(r"\w+\((.+?): \d+ classes, (.+?)(?: on cpu)?\)", detector)
    return f"{found[1]}, {found[2]}" if found else detector


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts
