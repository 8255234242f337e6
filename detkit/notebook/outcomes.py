"""What tables and pictures accept: results, failures, or the error that holds both.

Owns the one place where any of them becomes a plain list with a name for each entry. Knows values
only; never a table or a picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from detkit.addresses import without_credentials
from detkit.errors import ItemFailure, PartialBatchError
from detkit.results import DetectionResult

Outcome: TypeAlias = DetectionResult | ItemFailure
Outcomes: TypeAlias = "Iterable[Outcome | Record] | PartialBatchError | DetectionResult"
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
        results: What `detect_batch` returned or raised, the items of `map`, `stream` or
            `detect_images`, or one result.

    Raises:
        TypeError: If an entry is neither a result nor a failure.
    """
    if isinstance(results, PartialBatchError):
        entries: Iterable[object] = results.outcomes
    elif isinstance(results, DetectionResult):
        entries = [results]
    else:
        entries = results
    return [_checked(entry) for entry in entries]


def _checked(entry: object) -> Outcome:
    if isinstance(entry, (DetectionResult, ItemFailure)):
        return entry
    if isinstance(entry, Record):
        return _checked(entry.failure if entry.failure is not None else entry.result)
    raise TypeError(
        "expected DetectionResult or ItemFailure objects, records of detect_images, or a "
        f"PartialBatchError, got a {type(entry).__name__}"
    )


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
    return [None if s is None else without_credentials(os.fsdecode(s)) for s in given]


def _own_source(outcome: Outcome) -> Source:
    if isinstance(outcome, ItemFailure):
        return outcome.source
    source = outcome.metadata.get("source")
    return None if source is None else str(source)
