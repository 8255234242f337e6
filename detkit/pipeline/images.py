"""`detect_images`: files, folders, patterns and arrays through a detector, one record for each.

Owns reading ahead in threads and putting results back beside their inputs. Knows nothing of
batches or workers, which are the engine's, or of tables.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detkit.api.unfinished import Outcomes, Unfinished
from detkit.errors import DetkitError, ItemFailure, describe
from detkit.image_files import decode_image
from detkit.images import RGBImage
from detkit.pipeline.inputs import find_files, num_files
from detkit.progress import counted, counted_async
from detkit.results import DetectionResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detkit.api.async_detector import AsyncDetector, SettingsOptions

ImageInput: TypeAlias = "str | os.PathLike[str] | RGBImage"

# Decoding a 1280 x 720 JPEG takes 3 to 4 core-ms, a tenth of a fast detector's time on it: two
# threads keep any CPU detector fed, and leave the cores to it.
_NUM_DECODERS = 2


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

    def __repr__(self) -> str:
        outcome = self.result if self.failure is None else describe(self.failure.exception)
        return f"<ImageRecord {self.index} {self.source!r}: {outcome}>"


def detect_images(
    detector: AsyncDetector,
    sources: ImageInput | Iterable[ImageInput],
    *,
    keep_images: bool = False,
    max_in_flight: int | None = None,
    exclude: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **settings: Unpack[SettingsOptions],
) -> ImageRun:
    """Detect in images from files, folders, patterns or arrays.

    Iterate what is returned with `for`, or with `async for` in a cell that shall not block. Files
    are read and decoded ahead in threads; a bad one becomes a record with a failure and costs no
    other its result. Records come in input order. Each result's metadata also holds `source`.

    Args:
        detector: Stays open; one that is shared is fine.
        sources: One path, folder, pattern (`photos/**/*.jpg`) or uint8 RGB array, or any iterable
            of these. It is consumed as results are taken, so it may be endless.
        keep_images: Whether records carry the decoded image. Without it a million images need no
            more memory than a few.
        max_in_flight: Most images between reading and result; by default twice the workers, or
            one batch if that is more.
        exclude: A folder not to search, such as the one that results go to.
        progress: Whether to show a bar: images per second, failures, and the time left unless
            `sources` is an iterator.
        **settings: `confidence_threshold`, `iou_threshold`, `max_detections`, `classes`,
            `agnostic_nms`, as for `detect_async`.

    Example:
        >>> from detkit import AsyncDetector
        >>> from detkit.testing import FakeDetector, numbered_image
        >>> with AsyncDetector(FakeDetector()) as detector:
        ...     for record in detect_images(detector, [numbered_image(7)]):
        ...         print(record.source, len(record.result))
        image 0 1
    """
    if isinstance(sources, (str, os.PathLike, np.ndarray)):
        sources = [sources]
    return ImageRun(detector, sources, keep_images, max_in_flight, exclude, progress, settings)


class ImageRun:
    """The records of one `detect_images` call. Iterate it once, with `for` or `async for`.

    When that ends before the end, the outcomes of the latest 10,000 records are in the detector's
    `last_run`; a `KeyboardInterrupt` carries them as `outcomes`.
    """

    def __init__(
        self,
        detector: AsyncDetector,
        sources: Iterable[ImageInput],
        keep_images: bool,
        max_in_flight: int | None,
        exclude: str | os.PathLike[str] | None,
        progress: bool,
        settings: SettingsOptions,
    ) -> None:
        self._detector = detector
        self._sources = sources
        self._keep_images = keep_images
        self._exclude = exclude
        self._progress = progress
        self._unfinished = Unfinished(self._remember)
        self._options: dict[str, Any] = {
            "max_in_flight": max_in_flight
            or max(2 * detector.max_workers, detector.default_batch_size),
            "on_error": "yield",
            **settings,
        }

    def __iter__(self) -> Iterator[ImageRecord]:
        records = self._records()
        return counted(records, self._total(), _is_failed) if self._progress else records

    def __aiter__(self) -> AsyncIterator[ImageRecord]:
        records = self._records_async()
        return counted_async(records, self._total(), _is_failed) if self._progress else records

    def _records(self) -> Iterator[ImageRecord]:
        with self._feed() as feed:
            for outcome in self._detector.map(feed.images(), **self._options):
                yield from self._kept(feed.records(outcome))
            yield from self._kept(feed.records(None))

    async def _records_async(self) -> AsyncIterator[ImageRecord]:
        with self._feed() as feed:
            outcomes: Any = self._detector.stream(feed.images(), **self._options)
            async with aclosing(outcomes):
                async for outcome in outcomes:
                    for record in self._kept(feed.records(outcome)):
                        yield record
            for record in self._kept(feed.records(None)):
                yield record

    @contextmanager
    def _feed(self) -> Iterator[_Feed]:
        with closing(_Feed(self._sources, self._keep_images, self._exclude)) as feed:
            try:
                yield feed
            except BaseException as stop:
                self._unfinished.stopped(stop)
                raise

    def _kept(self, records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
        for record in records:
            self._unfinished.add(record.result if record.failure is None else record.failure)
            yield record

    def _remember(self, outcomes: Outcomes) -> None:
        self._detector.last_run = outcomes

    def _total(self) -> int | None:
        """How many records there will be, if that can be known without consuming anything."""
        if not isinstance(self._sources, (list, tuple)):
            return None
        return sum(
            num_files(source, self._exclude) if isinstance(source, (str, os.PathLike)) else 1
            for source in self._sources
        )


class _Feed:
    """Decoded images for the engine on one side, records in input order on the other.

    The engine may consume `images` on a thread of its own; `records` runs with the consumer.
    """

    def __init__(
        self,
        sources: Iterable[ImageInput],
        keep_images: bool,
        exclude: str | os.PathLike[str] | None,
    ) -> None:
        self._sources = sources
        self._keep_images = keep_images
        self._exclude = exclude
        self._decoders = ThreadPoolExecutor(_NUM_DECODERS, thread_name_prefix="detkit-decode")
        self._waiting: deque[ImageRecord] = deque()
        self._closed = False

    def images(self) -> Iterator[RGBImage]:
        """The images that could be decoded; what could not joins the records."""
        ahead: deque[tuple[str, Future[RGBImage]]] = deque()
        inputs = self._inputs()
        index = 0
        is_exhausted = False
        while True:
            while not is_exhausted and len(ahead) < 2 * _NUM_DECODERS:
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
                image = decoded.result()
                kept = image if self._keep_images else None
                self._waiting.append(ImageRecord(index, name, None, None, kept))
                yield image
            else:
                failure = ItemFailure(index, "decode", error, name)
                self._waiting.append(ImageRecord(index, name, None, failure))
            index += 1

    def _inputs(self) -> Iterator[tuple[str, Future[RGBImage]]]:
        for source in self._sources:
            if isinstance(source, (str, os.PathLike)):
                yield from self._files(source)
            else:
                # The engine validates arrays, and says so with stage "validate".
                yield f"image {self._count()}", _finished(source)

    def _files(self, source: str | os.PathLike[str]) -> Iterator[tuple[str, Future[RGBImage]]]:
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

    def _decode(self, path: Path) -> Future[RGBImage]:
        try:
            return self._decoders.submit(decode_image, path)
        except RuntimeError as error:  # Closed while the engine was reading.
            return _failed(error)

    def records(self, outcome: DetectionResult | ItemFailure | None) -> Iterator[ImageRecord]:
        """The records that are complete now that the next outcome is known; `None` at the end."""
        yield from self._failures()
        if outcome is None:
            return
        record = self._waiting.popleft()
        if isinstance(outcome, ItemFailure):
            failure = replace(outcome, index=record.index, source=record.source)
            yield replace(record, failure=failure)
        else:
            yield replace(record, result=outcome.with_metadata(source=record.source))
        yield from self._failures()

    def _failures(self) -> Iterator[ImageRecord]:
        while self._waiting and self._waiting[0].failure is not None:
            yield self._waiting.popleft()

    def close(self) -> None:
        """Decode nothing more. A file that is being decoded is not waited for."""
        self._closed = True
        self._decoders.shutdown(wait=False, cancel_futures=True)


def _is_failed(record: ImageRecord) -> bool:
    return record.failure is not None


def _finished(image: RGBImage) -> Future[RGBImage]:
    future: Future[RGBImage] = Future()
    future.set_result(image)
    return future


def _failed(error: Exception) -> Future[RGBImage]:
    future: Future[RGBImage] = Future()
    future.set_exception(error)
    return future
