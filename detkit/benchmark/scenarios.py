"""The ways work arrives: MLPerf Inference's four scenarios, and a live video.

Pure values: when queries are due and how many images each holds. Knows no clock and no detector.
The names and rules follow V. J. Reddi et al., "MLPerf Inference Benchmark" (ISCA 2020), section
4.1. In `server` and `video` a latency counts from the moment a query was due, so a contestant
that falls behind is charged for the wait of all that queued up meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

ScenarioName = Literal["single_stream", "multi_stream", "server", "offline", "video"]


@dataclass(frozen=True, slots=True)
class Query:
    """Images that are asked for together.

    Attributes:
        first: Position of the first image.
        size: How many images.
        due_s: Seconds after the start of the round at which it arrives; None: as soon as the
            one before it is answered.
    """

    first: int
    size: int
    due_s: float | None = None


@dataclass(frozen=True, slots=True)
class SingleStream:
    """One image at a time, the next when the last is answered: a lone caller."""

    name: ClassVar[ScenarioName] = "single_stream"
    is_paced: ClassVar[bool] = False

    def queries(self, num_images: int, rng: np.random.Generator) -> list[Query]:
        """One query for each image."""
        return [Query(i, 1) for i in range(num_images)]


@dataclass(frozen=True, slots=True)
class MultiStream:
    """Several images at a time, the next when all are answered: as many cameras in step.

    Attributes:
        num_streams: Images in one query. MLPerf uses eight.
    """

    name: ClassVar[ScenarioName] = "multi_stream"
    is_paced: ClassVar[bool] = False
    num_streams: int = 8

    def __post_init__(self) -> None:
        if self.num_streams < 1:
            raise ValueError(f"num_streams must be at least 1, got {self.num_streams!r}")

    def queries(self, num_images: int, rng: np.random.Generator) -> list[Query]:
        """Queries of `num_streams` images; the last may be shorter."""
        size = self.num_streams
        return [Query(i, min(size, num_images - i)) for i in range(0, num_images, size)]


@dataclass(frozen=True, slots=True)
class Offline:
    """All images at once: a folder to be worked through."""

    name: ClassVar[ScenarioName] = "offline"
    is_paced: ClassVar[bool] = False

    def queries(self, num_images: int, rng: np.random.Generator) -> list[Query]:
        """One query."""
        return [Query(0, num_images)] if num_images else []


@dataclass(frozen=True, slots=True)
class Server:
    """Single images at random moments: independent users.

    Attributes:
        rate_per_s: Mean arrivals per second; the gaps are exponential (a Poisson process).
        deadline_s: A query answered later than this counts as late, in seconds.
    """

    name: ClassVar[ScenarioName] = "server"
    is_paced: ClassVar[bool] = True
    rate_per_s: float = 10.0
    deadline_s: float = 0.1

    def __post_init__(self) -> None:
        _positive(rate_per_s=self.rate_per_s, deadline_s=self.deadline_s)

    def queries(self, num_images: int, rng: np.random.Generator) -> list[Query]:
        """Arrivals of a Poisson process; the same for every contestant of a round."""
        due = np.cumsum(rng.exponential(1 / self.rate_per_s, num_images))
        return [Query(i, 1, float(moment)) for i, moment in enumerate(due)]


@dataclass(frozen=True, slots=True)
class Video:
    """Frames in even time: a live camera that waits for nobody.

    Attributes:
        fps: Frames per second.
        deadline_s: A frame answered later than this counts as late, in seconds; by default the
            time of one frame.
    """

    name: ClassVar[ScenarioName] = "video"
    is_paced: ClassVar[bool] = True
    fps: float = 30.0
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        _positive(fps=self.fps)
        if self.deadline_s is None:
            object.__setattr__(self, "deadline_s", 1 / self.fps)
        _positive(deadline_s=self.deadline_s)

    def queries(self, num_images: int, rng: np.random.Generator) -> list[Query]:
        """Frame `i` is due at `i / fps`."""
        return [Query(i, 1, i / self.fps) for i in range(num_images)]


Scenario = SingleStream | MultiStream | Offline | Server | Video
_KINDS: dict[str, type[Any]] = {
    kind.name: kind for kind in (SingleStream, MultiStream, Offline, Server, Video)
}


def scenario(name: str, **options: Any) -> Scenario:
    """The scenario called `name`.

    Args:
        name: "single_stream", "multi_stream", "server", "offline" or "video".
        **options: Its own numbers, such as `rate_per_s=20` for "server".

    Raises:
        ValueError: If there is none of that name, or an option is out of range.
        TypeError: If it has no such option.

    Example:
        >>> scenario("video", fps=25)
        Video(fps=25, deadline_s=0.04)
    """
    if name not in _KINDS:
        raise ValueError(f"scenario must be one of {', '.join(_KINDS)}, got {name!r}")
    made: Scenario = _KINDS[name](**options)
    return made


def scenario_json(given: Scenario) -> dict[str, Any]:
    """Plain values for JSON."""
    return {"name": given.name, **asdict(given)}


def scenario_from_json(facts: Mapping[str, Any]) -> Scenario:
    """The scenario that `scenario_json` described."""
    return scenario(**facts)


def deadline_s(given: Scenario) -> float | None:
    """Seconds after which an answer counts as late; None where nothing is ever late."""
    return given.deadline_s if isinstance(given, (Server, Video)) else None


def _positive(**numbers: float | None) -> None:
    for name, number in numbers.items():
        if number is None or not 0 < number < float("inf"):
            raise ValueError(f"{name} must be a positive number, got {number!r}")
