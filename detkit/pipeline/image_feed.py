"""Decoded images for the engine on one side, records in input order on the other.

Owns reading ahead in threads and putting results back beside their inputs. Knows nothing of
batches or workers, which are the engine's, or of tables.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from detkit.api.unfinished import MAX_KEPT, Outcomes
from detkit.errors import DetkitError, ItemFailure, describe
from detkit.images import RGBImage
from detkit.pipeline.inputs import find_files
from detkit.results import DetectionResult
from detkit.scaled_decode import NeededSize, ReducedImage, Reduction, decode_reduced

ImageInput: TypeAlias = "str | os.PathLike[str] | RGBImage"

# This many images lie decoded while as many as there are threads are being decoded: enough to
# bridge a slow one, and a large image may take 36 MB.
_NUM_READY = 2


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """What became of one input image.

    Attributes:
        index: Position among all inputs, from 0; folders and patterns count file by file.
        source: Path of the file, or "image 3" for an array.
        result: What the detector found, or `None` if there is a failure.
        failure: Why there is no result, or `None` if there is one.
        image: uint8 RGB of shape (H, W, 3) with `keep_images=True`, else `None`.
    """

    index: int
    source: str
    result: DetectionResult | None
    failure: ItemFailure | None
    image: RGBImage | None = None

    @property
    def outcome(self) -> DetectionResult | ItemFailure | None:
        """The result or the failure, whichever there is."""
        return self.result if self.failure is None else self.failure

    def __repr__(self) -> str:
        outcome = self.result if self.failure is None else describe(self.failure.exception)
        return f"<ImageRecord {self.index} {self.source!r}: {outcome}>"


class _Waiting(NamedTuple):
    """An image that was read, until its outcome is known.

    Attributes:
        record: Its record so far; complete where it could not be read.
        position: Among the images that the engine was given.
        reduction: Of a file that was read smaller.
    """

    record: ImageRecord
    position: int = 0
    reduction: Reduction | None = None


class Feed:
    """The images of one run, decoded ahead, and the records that become of them.

    The engine may consume `images` on a thread of its own; `records` runs with the consumer.

    Args:
        sources: What the user named, consumed as images are.
        keep_images: Whether records carry the decoded image.
        exclude: A folder not to search.
        needed_hw: How much of an image file is decoded.
        max_ahead: Most images that are being decoded.
    """

    def __init__(
        self,
        sources: Iterable[ImageInput],
        keep_images: bool,
        exclude: str | os.PathLike[str] | None,
        needed_hw: NeededSize,
        max_ahead: int,
    ) -> None:
        self._sources = sources
        self._keep_images = keep_images
        self._exclude = exclude
        self._needed_hw = needed_hw
        self._num_decoders = min(_usable_cores(), max_ahead)
        self._decoders = ThreadPoolExecutor(self._num_decoders, thread_name_prefix="detkit-decode")
        self._waiting: deque[_Waiting] = deque()
        self._closed = False

    def images(self) -> Iterator[RGBImage]:
        """The images that could be decoded; what could not joins the records."""
        ahead: deque[tuple[str, Future[_Read]]] = deque()
        inputs = self._inputs()
        index = num_images = 0
        is_exhausted = False
        while True:
            while not is_exhausted and len(ahead) < self._num_decoders + _NUM_READY:
                entry = next(inputs, None)
                if entry is None:
                    is_exhausted = True
                else:
                    ahead.append(entry)
            if not ahead or self._closed:
                return
            name, decoded = ahead.popleft()
            error = decoded.exception()
            if error is None:
                image, reduction = decoded.result()
                kept = image if self._keep_images else None
                record = ImageRecord(index, name, None, None, kept)
                self._waiting.append(_Waiting(record, num_images, reduction))
                num_images += 1
                yield image
            else:
                failure = ItemFailure(index, "decode", error, name)
                self._waiting.append(_Waiting(ImageRecord(index, name, None, failure)))
            index += 1

    def _inputs(self) -> Iterator[tuple[str, Future[_Read]]]:
        for source in self._sources:
            if isinstance(source, (str, os.PathLike)):
                yield from self._files(source)
            else:
                # The engine validates arrays, and says so with stage "validate".
                yield f"image {self._count()}", _finished(source)

    def _files(self, source: str | os.PathLike[str]) -> Iterator[tuple[str, Future[_Read]]]:
        try:
            for path in find_files(source, exclude=self._exclude):
                self._count()
                yield str(path), self._decode(path)
        except (DetkitError, OSError) as error:
            self._count()
            yield os.fspath(source), _failed(error)

    _num_inputs = 0

    def _count(self) -> int:
        self._num_inputs += 1
        return self._num_inputs - 1

    def _decode(self, path: Path) -> Future[_Read]:
        try:
            return self._decoders.submit(decode_reduced, path, self._needed_hw)
        except RuntimeError as error:  # Closed while the engine was reading.
            return _failed(error)

    def records(self, outcome: DetectionResult | ItemFailure | None) -> Iterator[ImageRecord]:
        """The records that are complete now that the next outcome is known; `None` at the end."""
        yield from self._failures()
        if outcome is None:
            return
        record, _, reduction = self._waiting.popleft()
        if isinstance(outcome, ItemFailure):
            failure = replace(outcome, index=record.index, source=record.source)
            yield replace(record, failure=failure)
        else:
            result = outcome if reduction is None else reduction.to_whole(outcome)
            yield replace(record, result=result.with_metadata(source=record.source))
        yield from self._failures()

    def left(self, outcomes: Outcomes) -> Iterator[DetectionResult | ItemFailure | None]:
        """What had become of the images whose records were not taken; None: not finished.

        Args:
            outcomes: What the engine kept when the run was stopped.
        """
        yield from (record.outcome for record in self._failures())
        num_settled = self._waiting[0].position if self._waiting else 0
        for outcome in outcomes[min(num_settled, MAX_KEPT) :]:
            if not self._waiting:
                return
            if outcome is not None:
                yield from (record.outcome for record in self.records(outcome))
                continue
            self._waiting.popleft()
            yield None
            yield from (record.outcome for record in self._failures())

    def _failures(self) -> Iterator[ImageRecord]:
        while self._waiting and self._waiting[0].record.failure is not None:
            yield self._waiting.popleft().record

    def close(self) -> None:
        """Decode nothing more. A file that is being decoded is not waited for."""
        self._closed = True
        self._decoders.shutdown(wait=False, cancel_futures=True)


_Read: TypeAlias = "ReducedImage | tuple[RGBImage, None]"


def _finished(image: RGBImage) -> Future[_Read]:
    future: Future[_Read] = Future()
    future.set_result((image, None))
    return future


def _failed(error: Exception) -> Future[_Read]:
    future: Future[_Read] = Future()
    future.set_exception(error)
    return future


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
