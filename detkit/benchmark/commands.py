"""What `detkit bench` and `detkit tune` do, without a terminal: detector and images in, tables out.

The command line reads arguments, loads the model and shows what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.benchmark.instruments import Instruments
from detkit.benchmark.rounds import Sample, load_sample
from detkit.benchmark.runner import INTERRUPTED, benchmark
from detkit.benchmark.scenarios import Offline, Scenario
from detkit.benchmark.tables import Table, remarks, run_table, stage_table, tune_table
from detkit.benchmark.tune_report import TuneReport
from detkit.benchmark.tuner import tune


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What a command has to show.

    Attributes:
        tables: In order.
        lines: Sentences that follow.
        facts: The same and more, as plain values for `--json`.
        has_numbers: Whether anything could be measured.
    """

    tables: tuple[Table, ...]
    lines: tuple[str, ...]
    facts: Mapping[str, Any]
    has_numbers: bool = True

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C ended it early."""
        return INTERRUPTED in self.lines


def bench(
    detector: Any,
    samples: Sequence[Sample],
    scenario: Scenario | None = None,
    *,
    max_workers: int = 4,
    batch_size: int = 16,
    rounds: int = 10,
    max_seconds: float = 60.0,
    instruments: Instruments | None = None,
) -> CommandOutput:
    """Measure a detector in a plain loop and in an `AsyncDetector`, in turns.

    Args:
        detector: A loaded detector.
        samples: RGB arrays, or paths of images, whose decoding is then measured too.
        scenario: How the work arrives; by default all at once.
        max_workers: Of the `AsyncDetector`.
        batch_size: Of the `AsyncDetector`.
        rounds: How many rounds are counted.
        max_seconds: Stop early after so much time, in seconds.
        instruments: Clocks; the machine's own by default.

    Raises:
        ValueError: If there are no samples, or a number is out of range.
    """
    with AsyncDetector(detector, max_workers, batch_size) as engine:
        run = benchmark(
            {"loop": detector, "AsyncDetector": engine},
            samples,
            scenario or Offline(),
            rounds=rounds,
            max_seconds=max_seconds,
            keep_on_interrupt=True,
            instruments=instruments,
        )
    tables = (run_table(run), stage_table(run))
    has_numbers = any(entry.has_numbers for entry in run)
    return CommandOutput(tables, tuple(remarks(run)), run.as_json(), has_numbers)


def tune_settings(
    detector: Any,
    samples: Sequence[Sample],
    *,
    seconds: float = 20.0,
    goal: str = "throughput",
    use_cache: bool = True,
    instruments: Instruments | None = None,
) -> CommandOutput:
    """Find the setting for a detector; see `detkit.benchmark.tune`.

    Args:
        detector: A loaded detector.
        samples: RGB arrays, or paths of images, which are read first.
        seconds: How long to search, in seconds.
        goal: "throughput", "latency" or like "fps>=30".
        use_cache: Whether an earlier answer may be taken after a check.
        instruments: Clocks; the machine's own by default.

    Raises:
        ValueError: If there are no samples, or an argument is out of range.
        ImageDecodeError: If a file is no readable image.
        TuningError: If every image failed with every setting.
    """
    images = [load_sample(sample) for sample in samples]
    with AsyncDetector(detector) as engine:
        report = tune(
            engine,
            images,
            seconds=seconds,
            goal=goal,
            use_cache=use_cache,
            keep_on_interrupt=True,
            instruments=instruments,
        )
    lines = [report.advice, *report.notes]
    if report.from_cache:
        lines.append("found earlier on this machine and checked now; --no-cache searches anew")
    lines += _as_code(report)
    return CommandOutput((tune_table(report),), tuple(lines), report.as_json())


def _as_code(report: TuneReport) -> list[str]:
    """What to write to get the chosen setting."""
    best = report.best
    how = "".join(f", {name}={value!r}" for name, value in best.variant)
    load = [f"detector.load_model(path{how})"] if how else []
    return [*load, f"AsyncDetector(detector, {best.max_workers}, {best.batch_size})"]
