"""What tables and pictures accept: results, failures, or the error that holds both.

Owns the one place where any of them becomes a plain list with a name for each entry. Knows values
only; never a table or a picture.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from detkit.addresses import without_credentials
from detkit.errors import DetkitError, ItemFailure, PartialBatchError
from detkit.results import DetectionResult
from detkit.stored_text import storable

Outcome: TypeAlias = DetectionResult | ItemFailure
Outcomes: TypeAlias = (
    "Iterable[Outcome | Record | tuple[object, ...] | None] | PartialBatchError | Outcome | Record"
)
_WANTED = (
    "expected DetectionResult or ItemFailure objects, records of detect_images, or a "
    "PartialBatchError, got a "
)
Source: TypeAlias = "str | os.PathLike[str] | None"


@runtime_checkable
class Record(Protocol):
    """What `detect_images` yields: either a result or a failure."""

    @property
    def result(self) -> DetectionResult | None:
        """What was found, or `None`."""

    @property
    def failure(self) -> ItemFailure | None:
        """Why there is no result, or `None`."""


def outcome_list(results: Outcomes) -> list[Outcome]:
    """One entry per image given to the detector, in that order.

    Args:
        results: What `detect_batch` returned or raised, the items of `map`, `stream`,
            `detect_images` or `detect_video`, a detector's `last_run`, or one result. None among
            them is an image that was not finished, and becomes a failure.

    Raises:
        TypeError: If an entry is neither a result nor a failure.
    """
    if isinstance(results, PartialBatchError):
        entries: Iterable[object] = results.outcomes
    elif is_outcome(results):
        entries = [results]
    elif isinstance(results, AsyncIterable) and not isinstance(results, Iterable):
        raise TypeError("results still to come were passed: collect them, [r async for r in ...]")
    elif isinstance(results, (str, bytes, Mapping)) or not isinstance(results, Iterable):
        raise TypeError(_WANTED + type(results).__name__)
    else:
        entries = results
    return [_checked(entry, index) for index, entry in enumerate(entries)]


def is_outcome(entry: object) -> bool:
    """Whether it is one result or failure, or a record or pair with one."""
    if isinstance(entry, (DetectionResult, ItemFailure)):
        return True
    if isinstance(entry, tuple):
        # A frame and its outcome; but several outcomes in a tuple are several.
        is_pair = len(entry) > 1 and isinstance(entry[-1], (DetectionResult, ItemFailure))
        return is_pair and entry[0] is not None and not is_outcome(entry[0])
    # A record is told by its attributes; a class that answers to everything is none.
    return type(entry).__module__.startswith("detkit.") and isinstance(entry, Record)


def _checked(entry: object, index: int) -> Outcome:
    if isinstance(entry, (DetectionResult, ItemFailure)):
        return entry
    if entry is None:
        return ItemFailure(index, "queue", DetkitError("not finished: the call was stopped before"))
    if isinstance(entry, tuple) and is_outcome(entry):
        return _checked(entry[-1], index)  # a frame and its outcome
    if isinstance(entry, Record):
        return _checked(entry.failure if entry.failure is not None else entry.result, index)
    hint = ": await it first" if inspect.isawaitable(entry) else ""
    raise TypeError(_WANTED + type(entry).__name__ + hint)


def source_list(
    outcomes: Sequence[Outcome], sources: Iterable[Source] | None = None
) -> list[str | None]:
    """The name of each image: as given, or what its result or failure says of itself.

    Raises:
        ValueError: If `sources` has not one entry per image.
    """
    if sources is None:
        given: list[Source] = [_own_source(outcome) for outcome in outcomes]
    else:
        given = list(sources)
        if len(given) != len(outcomes):
            raise ValueError(f"{len(given)} sources were given for {len(outcomes)} images")
    return [None if s is None else storable(without_credentials(os.fsdecode(s))) for s in given]


def _own_source(outcome: Outcome) -> Source:
    if isinstance(outcome, ItemFailure):
        return outcome.source
    source = outcome.metadata.get("source")
    return None if source is None else str(source)
