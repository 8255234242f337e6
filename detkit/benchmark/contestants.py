"""`Contestant`: the little that a benchmark asks of whatever it measures, and the usual kinds.

To measure something else, write `issue` and `answers`; nothing here reads a clock but the
instruments it was given. Knows the engine's public face; no scenario and no statistics.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from detkit.api.async_detector import AsyncDetector
from detkit.benchmark.instruments import Instruments
from detkit.benchmark.labels import label_of
from detkit.errors import DetkitError, PartialBatchError
from detkit.images import RGBImage


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one query.

    Attributes:
        query: Its number.
        finished_at: When, on the instruments' clock.
        results: Those images that have a result.
        errors: The others' errors.
    """

    query: int
    finished_at: float
    results: Sequence[Any]
    errors: Sequence[BaseException] = ()


class Contestant(ABC):
    """Something that answers queries. Called from one thread.

    Attributes:
        facts: Settings to be written beside its numbers; plain values only.
    """

    facts: Mapping[str, Any] = {}

    @abstractmethod
    def issue(self, query: int, images: Sequence[RGBImage]) -> None:
        """Hand a query over. May return before it is answered, or only then."""

    @abstractmethod
    def answers(self, until: float | None = None) -> list[Answer]:
        """Wait for at least one answer that was not told yet, or until a moment.

        Args:
            until: On the instruments' clock; None: however long it takes. Where nothing is under
                way, this moment is waited for.
        """

    def close(self) -> None:  # noqa: B027  optional: many hold nothing
        """Release what the contestant holds; idempotent."""


class LoopContestant(Contestant):
    """A blocking function that is given the images of a query and returns its results.

    Args:
        detect_all: Called with the list of images.
        instruments: What tells the time.
        facts: See `Contestant`.
    """

    def __init__(
        self,
        detect_all: Callable[[Sequence[RGBImage]], Sequence[Any]],
        instruments: Instruments | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self._detect_all = detect_all
        self._instruments = instruments or Instruments()
        self.facts = dict(facts or {})
        self._done: list[Answer] = []

    def issue(self, query: int, images: Sequence[RGBImage]) -> None:
        """Answer the query at once."""
        results, errors = attempt(partial(self._detect_all, images), len(images))
        self._done.append(Answer(query, self._instruments.clock(), results, errors))

    def answers(self, until: float | None = None) -> list[Answer]:
        """What was answered since the last time."""
        if not self._done and until is not None:
            self._instruments.sleep_until(until)
        done, self._done = self._done, []
        return done


class EngineContestant(Contestant):
    """An `AsyncDetector`: single images through `submit`, several through `detect_batch`.

    Args:
        detector: Closed by its owner, not here.
        instruments: What tells the time.
    """

    def __init__(self, detector: AsyncDetector, instruments: Instruments | None = None) -> None:
        self._detector = detector
        self._instruments = instruments or Instruments()
        self._done: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._num_under_way = 0
        self.facts = {
            "detector": label_of(detector.detector),
            "max_workers": detector.max_workers,
            "default_batch_size": detector.default_batch_size,
        }

    def issue(self, query: int, images: Sequence[RGBImage]) -> None:
        """Hand the query to the engine; several images are waited for."""
        self._num_under_way += 1
        if len(images) > 1:
            detect = partial(self._detector.detect_batch, images)
            results, errors = attempt(detect, len(images))
            self._done.put(Answer(query, self._instruments.clock(), results, errors))
            return
        try:
            future = self._detector.submit(images[0])
        except DetkitError as error:
            self._done.put(Answer(query, self._instruments.clock(), (), (error,)))
            return
        future.add_done_callback(partial(self._finished, query))

    def answers(self, until: float | None = None) -> list[Answer]:
        """See `Contestant`."""
        clock = self._instruments.clock
        if not self._num_under_way:
            if until is not None:
                self._instruments.sleep_until(until)
            return []
        try:
            patience_s = None if until is None else max(0.0, until - clock())
            told = [self._done.get(timeout=patience_s)]
        except queue.Empty:
            return []
        while not self._done.empty():
            told.append(self._done.get())
        self._num_under_way -= len(told)
        return told

    def _finished(self, query: int, future: Future[Any]) -> None:
        now = self._instruments.clock()
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._done.put(Answer(query, now, (), (error,)))
        elif future.cancelled():
            self._done.put(Answer(query, now, (), (DetkitError("the image was cancelled"),)))
        else:
            self._done.put(Answer(query, now, (future.result(),)))


def as_contestant(given: Any, instruments: Instruments) -> Contestant:
    """A contestant from what a user has at hand.

    Args:
        given: A `Contestant`, an `AsyncDetector`, a detector with `detect(image)`, or a function
            of one image.
        instruments: What tells the time.

    Raises:
        TypeError: If it is nothing of the kind.
    """
    if isinstance(given, Contestant):
        return given
    if isinstance(given, AsyncDetector):
        return EngineContestant(given, instruments)
    detect = getattr(given, "detect", given)
    if not callable(detect):
        raise TypeError(
            "a contestant must be a Contestant, an AsyncDetector, a detector or a function of one "
            f"image, got {type(given).__name__}"
        )
    return LoopContestant(partial(_one_by_one, detect), instruments, {"detector": label_of(given)})


def _one_by_one(detect: Callable[[RGBImage], Any], images: Sequence[RGBImage]) -> list[Any]:
    results: list[Any] = []
    errors: list[BaseException] = []
    for image in images:
        try:
            results.append(detect(image))
        except Exception as error:  # noqa: BLE001  a stranger's detector may raise anything
            errors.append(error)
    if errors:
        text = f"{len(errors)} of {len(images)} images failed"
        raise PartialBatchError(text, len(results), len(images), results) from errors[0]
    return results


def attempt(
    detect: Callable[[], Sequence[Any]], num_images: int
) -> tuple[Sequence[Any], Sequence[BaseException]]:
    """Call a detector for `num_images`; what it raises becomes one error for each image lost."""
    try:
        return list(detect()), ()
    except PartialBatchError as error:
        cause = error.failures[0].exception if error.failures else error.__cause__ or error
        return error.results, [cause] * (error.total - error.successful)
    except Exception as error:  # noqa: BLE001  a stranger's detector may raise anything
        return (), [error] * num_images
