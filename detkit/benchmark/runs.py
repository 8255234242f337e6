"""`BenchmarkRun`: what was measured, by whom and where, as a frozen value that JSON can hold.

Knows rounds, machines and intervals; never a detector, a table library or a picture.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from detkit.benchmark.drift import Drift, find_drift
from detkit.benchmark.intervals import Interval, median_interval, percentile
from detkit.benchmark.machine import Machine
from detkit.benchmark.rounds import STAGES, Round
from detkit.benchmark.scenarios import Scenario, scenario_from_json, scenario_json
from detkit.errors import DetkitError

# Raise it when a field changes its meaning or goes; new fields with a default keep it.
SCHEMA_VERSION = 1
# The resamples behind an interval are the same each time it is looked at.
_SEED = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """The rounds of one contestant.

    Attributes:
        name: Of the contestant.
        rounds: One per round of the run; `None` where it could not take part.
        is_paced: Whether the scenario gave the rate.
        facts: Its settings.
        error: Why it has no numbers; empty if it has.
    """

    name: str
    rounds: tuple[Round | None, ...]
    is_paced: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounds", tuple(self.rounds))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    @property
    def played(self) -> list[Round]:
        """The rounds with at least one result."""
        return [r for r in self.rounds if r is not None and r.num_ok]

    @property
    def has_numbers(self) -> bool:
        """Whether there is anything to report."""
        return bool(self.played)

    def costs_s(self) -> list[float]:
        """One number per round, in seconds, that says how dear it was; infinite if it failed.

        See `Round.cost_s`.
        """
        return [math.inf if r is None else r.cost_s(self.is_paced) for r in self.rounds]

    def images_per_s(self) -> Interval:
        """Median throughput over the rounds, with its 95 % interval."""
        return self._median([r.images_per_s for r in self.played])

    def latency_s(self, rank: float) -> float:
        """A percentile of the latencies of all rounds together, in seconds; NaN if none."""
        return percentile([s for r in self.played for s in r.latencies_s], rank)

    def core_seconds_per_image(self) -> Interval:
        """Median of the core-seconds that an image cost, with its 95 % interval."""
        return self._median([r.cpu_s / r.num_ok for r in self.played])

    @property
    def peak_bytes(self) -> int | None:
        """Largest resident memory of the process in any round; None if unknown."""
        peaks = [r.peak_bytes for r in self.played if r.peak_bytes is not None]
        return max(peaks) if peaks else None

    @property
    def num_failed(self) -> int:
        """Images without a result, over all rounds."""
        return sum(r.num_failed for r in self.rounds if r is not None)

    @property
    def late_share(self) -> float:
        """Answers after the deadline, as a share of all; 0 where there is none."""
        answered = sum(len(r.latencies_s) for r in self.played)
        return sum(r.num_late for r in self.played) / answered if answered else 0.0

    def stages_ms(self) -> dict[str, float]:
        """Mean milliseconds per image by stage, as far as results tell."""
        num_images = sum(r.num_ok for r in self.played) or 1
        totals = {s: [r.stages_s[s] for r in self.played if s in r.stages_s] for s in STAGES}
        return {s: 1000 * sum(spent) / num_images for s, spent in totals.items() if spent}

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON, with a summary for readers of the file."""
        return {
            "name": self.name,
            "facts": dict(self.facts),
            "error": self.error,
            "summary": self._summary(),
            "rounds": [None if r is None else r.as_json() for r in self.rounds],
        }

    def _summary(self) -> dict[str, Any]:
        if not self.has_numbers:
            return {}
        ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
        latencies = {name: self.latency_s(rank) for name, rank in ranks.items()}
        return {
            "images_per_s": self.images_per_s().as_json(),
            "core_seconds_per_image": self.core_seconds_per_image().as_json(),
            **{f"latency_{n}_ms": _rounded(1000 * s) for n, s in latencies.items()},
            "stages_ms": {name: _rounded(ms) for name, ms in self.stages_ms().items()},
            "peak_bytes": self.peak_bytes,
            "late_share": _rounded(self.late_share),
            "num_failed": self.num_failed,
        }

    def _median(self, values: list[float]) -> Interval:
        if not values:
            return Interval(math.nan, math.nan, math.nan)
        return median_interval(values, np.random.default_rng(_SEED))


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """One benchmark: contestants that took turns on one machine.

    Attributes:
        scenario: How the work arrived.
        machine: Where.
        entries: The contestants, in the order given.
        num_images: Images in one round of one contestant.
        date: ISO date, UTC.
        run_id: The same for rounds that were taken in turns and can be compared pairwise.
        notes: What a reader should know: contestants passed over, time running out.
        schema_version: Of the JSON form.
    """

    scenario: Scenario
    machine: Machine
    entries: tuple[Entry, ...]
    num_images: int
    date: str = ""
    run_id: str = ""
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(self.entries))
        object.__setattr__(self, "notes", tuple(self.notes))

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(f"no contestant {name!r}; there are {', '.join(map(repr, self.names))}")

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> list[str]:
        """Of the contestants."""
        return [entry.name for entry in self.entries]

    def only(self, name: str) -> BenchmarkRun:
        """This run with one contestant, to be compared with another run.

        Raises:
            KeyError: If there is none of that name.
        """
        return replace(self, entries=(self[name],))

    @property
    def drift(self) -> Drift:
        """Whether the machine became slower or faster meanwhile."""
        return find_drift([e.costs_s() for e in self.entries if e.has_numbers])

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema_version": self.schema_version,
            "date": self.date,
            "run_id": self.run_id,
            "machine": self.machine.as_json(),
            "scenario": scenario_json(self.scenario),
            "num_images": self.num_images,
            "notes": list(self.notes),
            "entries": [entry.as_json() for entry in self.entries],
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> BenchmarkRun:
        """The run that `as_json` described.

        Raises:
            BenchmarkFileError: If it is of another version, or no run at all.
        """
        try:
            version = facts["schema_version"]
            if version != SCHEMA_VERSION:
                raise BenchmarkFileError(
                    f"this benchmark has schema version {version!r}, detkit reads {SCHEMA_VERSION}"
                )
            scenario = scenario_from_json(facts["scenario"])
            return cls(
                scenario=scenario,
                machine=Machine.from_json(facts["machine"]),
                entries=tuple(_entry(e, scenario.is_paced) for e in facts["entries"]),
                num_images=facts["num_images"],
                date=facts["date"],
                run_id=facts["run_id"],
                notes=tuple(facts["notes"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DetkitError):
                raise
            raise BenchmarkFileError(f"this is no benchmark of detkit: {error!r}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON form; a file that was there is replaced in one step or not at all."""
        write_atomically(Path(path), json.dumps(self.as_json(), indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BenchmarkRun:
        """Read what `save` wrote.

        Raises:
            BenchmarkFileError: If the file holds no run of this version.
            OSError: If it cannot be read.
        """
        try:
            facts = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise BenchmarkFileError(f"{Path(path).name} is no JSON: {error}") from error
        return cls.from_json(facts)


class BenchmarkFileError(DetkitError, ValueError):
    """A file or JSON value is no benchmark that this version of detkit can read."""


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _entry(facts: Mapping[str, Any], is_paced: bool) -> Entry:
    rounds = tuple(None if r is None else Round.from_json(r) for r in facts["rounds"])
    return Entry(facts["name"], rounds, is_paced, facts["facts"], facts["error"])


def _rounded(number: float) -> float | None:
    return None if math.isnan(number) else float(f"{number:.6g}")
