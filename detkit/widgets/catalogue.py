"""`Catalogue`: which images of a run to look at, and in what order. Pure numpy.

Everything is counted once over flat arrays of boxes, so that filtering and sorting 100,000 images
takes milliseconds. Knows results and failures; never a pixel, a widget or a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from detkit.errors import ItemFailure, PartialBatchError
from detkit.results import DetectionResult

Outcome: TypeAlias = "DetectionResult | ItemFailure"
Show = Literal["all images", "with objects", "without objects", "failed"]
Order = Literal[
    "input",
    "most objects",
    "fewest objects",
    "most confident",
    "least confident",
    "class",
    "failed first",
]
SHOWS: tuple[Show, ...] = get_args(Show)
ORDERS: tuple[Order, ...] = get_args(Order)
_Ints: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Query:
    """What a person asks to see.

    Attributes:
        show: Which images.
        order: In what order; "class" is by name, that of the most confident box of each image.
            Failed ones come last, unless in input order or asked for first.
        class_name: Count boxes of this class only; `None` counts all.
        confidence_threshold: Count boxes of at least this score only.
        min_count: Leave out images with fewer such boxes; failed ones too, if above 0.
    """

    show: Show = "all images"
    order: Order = "input"
    class_name: str | None = None
    confidence_threshold: float = 0.0
    min_count: int = 0


class Catalogue:
    """The outcomes of a run, ready to be searched.

    Args:
        outcomes: One result or failure per image.

    Attributes:
        outcomes: The same.
        class_names: Every class that occurs, by name.

    Example:
        >>> found = DetectionResult([[0, 0, 9, 9]], [0.4], [2])
        >>> catalogue = Catalogue([DetectionResult.empty(), found])
        >>> catalogue.select(Query(show="with objects")).tolist()
        [1]
        >>> catalogue.select(Query(show="with objects", confidence_threshold=0.5)).tolist()
        []
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = outcomes
        results = [None if isinstance(o, ItemFailure) else o for o in outcomes]
        self._is_failed = np.array([r is None for r in results], dtype=bool)
        counts = [0 if r is None else len(r) for r in results]
        self._image = np.repeat(np.arange(len(results)), counts)
        self._score = _joined([r.scores for r in results if r is not None], np.float32)
        ids: dict[str, int] = {}
        codes = [
            ids.setdefault(name, len(ids)) for r in results if r is not None for name in r.names
        ]
        self._class = np.array(codes, dtype=np.int64)
        self.class_names = sorted(ids)
        self._ids = ids

    def __len__(self) -> int:
        return len(self._is_failed)

    def counts(self, query: Query) -> _Ints:
        """Boxes that count, by image, shape `(N,)`."""
        kept = self._image[self._counting(query)]
        return np.bincount(kept, minlength=len(self)).astype(np.int64)

    def best_scores(self, query: Query) -> npt.NDArray[np.float32]:
        """Highest score of the boxes that count, by image; -1 where there are none."""
        best = np.full(len(self), -1, dtype=np.float32)
        mask = self._counting(query)
        np.maximum.at(best, self._image[mask], self._score[mask])
        return best

    def select(self, query: Query) -> _Ints:
        """Indices of the images to show, in order; equal ones in input order."""
        counts = self.counts(query)
        keep = counts >= query.min_count
        if query.min_count > 0:
            keep &= ~self._is_failed
        if query.show == "failed":
            keep &= self._is_failed
        elif query.show == "with objects":
            keep &= ~self._is_failed & (counts > 0)
        elif query.show == "without objects":
            keep &= ~self._is_failed & (counts == 0)
        chosen = np.flatnonzero(keep)
        if query.order == "input":
            return chosen
        keys = self._keys(query, counts)
        keys = np.where(self._is_failed, -np.inf if query.order == "failed first" else np.inf, keys)
        return chosen[np.argsort(keys[chosen], kind="stable")]

    def _keys(self, query: Query, counts: _Ints) -> npt.NDArray[np.float64]:
        """What images are sorted by, smallest first."""
        if query.order == "most objects":
            return -counts.astype(np.float64)
        if query.order == "fewest objects":
            return counts.astype(np.float64)
        if query.order == "class":
            return self._best_classes(query)
        if query.order == "failed first":
            return np.zeros(len(self))
        best = self.best_scores(query).astype(np.float64)
        return -best if query.order == "most confident" else np.where(best < 0, 2.0, best)

    def _best_classes(self, query: Query) -> npt.NDArray[np.float64]:
        """Place in the alphabet of the class of each image's best box that counts."""
        places = np.empty(len(self._ids))
        for place, name in enumerate(self.class_names):
            places[self._ids[name]] = place
        best = np.full(len(self), float(len(places)))
        counting = np.flatnonzero(self._counting(query))
        rising = counting[np.argsort(self._score[counting], kind="stable")]
        best[self._image[rising]] = places[self._class[rising]]  # the last one stays
        return best

    def _counting(self, query: Query) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = self._score >= np.float32(query.confidence_threshold)
        if query.class_name is not None:
            mask &= self._class == self._ids.get(query.class_name, -1)
        return mask


def outcomes_of(results: Iterable[object] | PartialBatchError) -> list[Outcome]:
    """One result or failure per image, from whatever detkit gives or raises for many images.

    Raises:
        TypeError: If an entry is neither.
    """
    entries = results.outcomes if isinstance(results, PartialBatchError) else results
    return [_outcome(entry) for entry in entries]


def _outcome(entry: object) -> Outcome:
    if isinstance(entry, (DetectionResult, ItemFailure)):
        return entry
    for name in ("failure", "result"):  # a record of `detect_images`
        value = getattr(entry, name, None)
        if isinstance(value, (DetectionResult, ItemFailure)):
            return value
    raise TypeError(
        f"results must be DetectionResult or ItemFailure objects, got {type(entry).__name__}"
    )


def _joined(parts: Sequence[npt.NDArray[np.float32]], dtype: type) -> npt.NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
