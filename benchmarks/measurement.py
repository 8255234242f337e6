"""How the benchmarks measure: contestants take turns, medians of rounds, ratios within a round.

Knows no contestant.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from detkit import benchmark

# Where results go. A trial run that nobody is to read names another folder.
RESULTS_VARIABLE = "DETKIT_BENCHMARK_RESULTS"
RESULTS = Path(os.environ.get(RESULTS_VARIABLE) or Path(__file__).resolve().parent / "results")


@dataclass(frozen=True)
class Timing:
    """Seconds that one contestant took in each round, for `num_items` items a round."""

    name: str
    num_items: int
    rounds_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds_s)

    @property
    def per_second(self) -> float:
        """Items per second in the median round."""
        return self.num_items / self.median_s

    def speedup_over(self, other: Timing) -> float:
        """How many times faster this one is per item: median of the ratios within each round."""
        pairs = zip(self.rounds_s, other.rounds_s, strict=True)
        ratios = [(b / other.num_items) / (a / self.num_items) for a, b in pairs]
        return statistics.median(ratios)

    def as_json(self) -> dict[str, Any]:
        """What the result file keeps."""
        return {
            "num_items": self.num_items,
            "rounds_s": [round(s, 6) for s in self.rounds_s],
            "median_s": round(self.median_s, 6),
            "per_second": round(self.per_second, 2),
        }


# Threads of OpenMP spin for 200 ms after their work, on the cores of whoever comes next.
REST_S = 0.3


def interleave(
    contestants: Mapping[str, Callable[[], int]], rounds: int = 5, warm_up: bool = True
) -> dict[str, Timing]:
    """Let contestants take turns; each call does its work once and returns how many items."""
    items: dict[str, int] = {}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    if warm_up:
        for work in contestants.values():
            work()
    names = list(contestants)
    for turn in range(rounds):
        # The order rotates and turns round, so that nobody always runs after the same neighbour.
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in order[:: -1 if turn % 2 else 1]:
            time.sleep(REST_S)
            started = time.perf_counter()
            items[name] = contestants[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: Timing(name, items[name], tuple(seconds[name])) for name in names}


def describe_machine() -> dict[str, Any]:
    """What a reader needs to judge the numbers; nothing that names the machine or its owner."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        **benchmark.describe_machine().as_json(),
    }


def write_results(name: str, findings: Mapping[str, Any]) -> Path:
    """Write `results/<name>.json` with the machine's description."""
    RESULTS.mkdir(exist_ok=True, parents=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({"machine": describe_machine(), **findings}, indent=2)
    path.write_text(text + "\n")
    return path


def update_results(name: str, sections: Mapping[str, Any]) -> Path:
    """As `write_results`, but sections that were measured earlier and not now are kept."""
    path = RESULTS / f"{name}.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    known.pop("machine", None)
    return write_results(name, {**known, **sections})


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}")
    for number, row in enumerate(cells):
        first, *rest = row
        print(
            "  " + first.ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)),
        )
        if number == 0:
            print("  " + "-" * (sum(widths) + len(widths) - 1))
