"""Runs and tuning reports as plain tables of text, for terminals and Markdown files.

Owns which numbers a person sees first and with how many digits. Knows runs; prints nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from detkit.benchmark.comparison import compare_all
from detkit.benchmark.runs import BenchmarkRun, Entry
from detkit.benchmark.tune_report import TuneReport

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text.

    Attributes:
        title: What stands above.
        header: Names of the columns.
        rows: As many cells each.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_text(self) -> str:
        """Aligned columns, the first to the left, the others to the right."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]

        def aligned(cells: Sequence[str]) -> str:
            first = cells[0].ljust(widths[0])
            rest = [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
            return "  ".join([first, *rest]).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join(
            [self.title, aligned(self.header), rule, *(aligned(row) for row in self.rows)]
        )

    def to_markdown(self) -> str:
        """A Markdown table; bars and line ends inside cells are escaped."""

        def row(cells: Sequence[str]) -> str:
            return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"

        rule = "|---|" + "---:|" * (len(self.header) - 1)
        return "\n".join([row(self.header), rule, *(row(cells) for cells in self.rows)])


def run_table(run: BenchmarkRun, baseline: str | None = None) -> Table:
    """Throughput, latency, cost and memory of every contestant.

    Args:
        run: The run.
        baseline: Whom the others are compared with; by default the first with numbers.
    """
    if baseline is None:
        baseline = next((e.name for e in run if e.has_numbers), None)
    beside = {c.name: c for c in compare_all(run, baseline)} if baseline is not None else {}
    rows = []
    for entry in run:
        if not entry.has_numbers:
            rows.append((entry.name, *["–"] * 6, entry.error or "no numbers"))
            continue
        found = beside.get(entry.name)
        verdict = "baseline" if found is None else f"{found.speedup.text(unit='x')} {found.verdict}"
        rows.append((entry.name, *_numbers(entry), verdict))
    header = ("contestant", "images/s", "p50 ms", "p95 ms", "p99 ms", "core-s/image", "peak MiB")
    what = f"{run.scenario.name}: {run.num_images} images a round, {_num_rounds(run)} rounds"
    return Table(what, (*header, f"beside {baseline}"), tuple(rows))


def stage_table(run: BenchmarkRun) -> Table:
    """Where the time goes: milliseconds per image by stage, as far as results tell."""
    stages = list(dict.fromkeys(stage for entry in run for stage in entry.stages_ms()))
    rows = []
    for entry in run:
        spent = entry.stages_ms()
        cells = (f"{spent[s]:.2f}" if s in spent else "–" for s in stages)
        rows.append((entry.name, *cells))
    return Table("milliseconds per image by stage", ("contestant", *stages), tuple(rows))


def tune_table(report: TuneReport) -> Table:
    """Every setting that was tried, the best first."""
    rows = tuple(
        (
            str(point.choice),
            point.images_per_s.text(1),
            f"{1000 * point.latency_s:.1f}" if math.isfinite(point.latency_s) else "–",
            str(point.num_tries),
            point.fate,
        )
        for point in report.points
    )
    header = ("setting", "images/s", "ms per image", "tries", "fate")
    return Table(f"{report.model}, goal {report.goal}", header, rows)


def remarks(run: BenchmarkRun) -> list[str]:
    """What a reader must know beside the numbers: machine, drift, failures, notes."""
    lines = [str(run.machine)]
    drift = run.drift
    lines += [str(drift)] if drift.is_significant else []
    lines += [
        f"{e.name}: {e.num_failed} images failed ({first})"
        for e in run
        if e.num_failed and (first := next((r.first_error for r in e.played if r.num_failed), ""))
    ]
    lines += [f"{e.name}: {e.late_share:.0%} of answers were late" for e in run if e.late_share]
    return [*lines, *run.notes]


def _numbers(entry: Entry) -> tuple[str, ...]:
    latencies = (_milliseconds(entry.latency_s(rank)) for rank in (0.50, 0.95, 0.99))
    peak = "–" if entry.peak_bytes is None else f"{entry.peak_bytes / _MIB:.0f}"
    cost = f"{entry.core_seconds_per_image().value:.4f}"
    return (entry.images_per_s().text(1), *latencies, cost, peak)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}" if math.isfinite(seconds) else "–"


def _num_rounds(run: BenchmarkRun) -> int:
    return max((len(entry.rounds) for entry in run), default=0)


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")
