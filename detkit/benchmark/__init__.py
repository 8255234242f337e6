"""Measuring detectors so that the numbers can be believed, and tuning one.

`benchmark` lets contestants take turns in a scenario, `compare` says faster, slower or no
difference, `tune` finds the workers and batch size that suit a machine. Tables and plots are in
`detkit.notebook.benchmark_report`.

Example:
    >>> from detkit.benchmark import benchmark, compare_all
    >>> from detkit.testing import FakeDetector, numbered_image
    >>> images = [numbered_image(n) for n in range(8)]
    >>> run = benchmark({"a": FakeDetector(), "b": FakeDetector()}, images, rounds=3)
    >>> [c.verdict for c in compare_all(run, "a")]
    ['undecided']
"""

from __future__ import annotations

from detkit.benchmark.comparison import Comparison, DifferentMachinesError, compare, compare_all
from detkit.benchmark.contestants import Answer, Contestant, EngineContestant, LoopContestant
from detkit.benchmark.drift import Drift
from detkit.benchmark.instruments import Instruments
from detkit.benchmark.intervals import Interval
from detkit.benchmark.machine import Machine, describe_machine
from detkit.benchmark.rounds import Round
from detkit.benchmark.runner import benchmark
from detkit.benchmark.runs import BenchmarkFileError, BenchmarkRun, Entry
from detkit.benchmark.scenarios import (
    MultiStream,
    Offline,
    Scenario,
    Server,
    SingleStream,
    Video,
    scenario,
)
from detkit.benchmark.tune_report import TunePoint, TuneReport, TuningError
from detkit.benchmark.tuner import tune

__all__ = [
    "Answer",
    "BenchmarkFileError",
    "BenchmarkRun",
    "Comparison",
    "Contestant",
    "DifferentMachinesError",
    "Drift",
    "EngineContestant",
    "Entry",
    "Instruments",
    "Interval",
    "LoopContestant",
    "Machine",
    "MultiStream",
    "Offline",
    "Round",
    "Scenario",
    "Server",
    "SingleStream",
    "TunePoint",
    "TuneReport",
    "TuningError",
    "Video",
    "benchmark",
    "compare",
    "compare_all",
    "describe_machine",
    "scenario",
    "tune",
]
