"""`detect_images`: files, folders, patterns and arrays through a detector, one record for each.

Owns the arguments and the two ways to iterate; `image_feed.py` reads ahead and puts results back
beside their inputs. Knows nothing of batches or workers, which are the engine's, or of tables.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from detkit.api.arguments import wrapped
from detkit.api.unfinished import Outcomes, Unfinished
from detkit.errors import UnsupportedSettingError
from detkit.pipeline.image_feed import Feed, ImageInput, ImageRecord
from detkit.pipeline.inputs import num_files
from detkit.pipeline.needed_size import everything, needed_size
from detkit.progress import counted, counted_async

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from detkit.api.async_detector import AsyncDetector, SettingsOptions

Decode: TypeAlias = Literal["auto", "exact"]


def detect_images(
    detector: AsyncDetector,
    sources: ImageInput | Iterable[ImageInput],
    *,
    keep_images: bool = False,
    max_in_flight: int | None = None,
    exclude: str | os.PathLike[str] | None = None,
    decode: Decode = "auto",
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
        decode: "auto" reads a JPEG at 1/2, 1/4 or 1/8 of its size where that is still as large as
            the detector scales it to. Boxes are in pixels of the whole picture all the same;
            scores may differ in the second decimal. "exact" reads every pixel, as do
            `keep_images=True`, other formats, and detectors without `scaled_hw`.
        progress: Whether to show a bar: images per second, failures, and the time left unless
            `sources` is an iterator.
        **settings: `confidence_threshold`, `iou_threshold`, `max_detections`, `classes`,
            `agnostic_nms`, as for `detect_async`.

    Raises:
        UnsupportedSettingError: If `decode` is neither.

    Example:
        >>> from detkit import AsyncDetector
        >>> from detkit.testing import FakeDetector, numbered_image
        >>> with AsyncDetector(FakeDetector()) as detector:
        ...     for record in detect_images(detector, [numbered_image(7)]):
        ...         print(record.source, len(record.result))
        image 0 1
    """
    wrapped(detector)
    if isinstance(sources, (str, os.PathLike, np.ndarray)):
        sources = [sources]
    if decode not in ("auto", "exact"):
        raise UnsupportedSettingError(f"decode must be 'auto' or 'exact', got {decode!r}")
    needed_hw = everything if decode == "exact" or keep_images else needed_size(detector.detector)
    window = max_in_flight or max(2 * detector.max_workers, detector.default_batch_size)
    feed = partial(Feed, sources, keep_images, exclude, needed_hw, window)
    options = {"max_in_flight": window, "on_error": "yield", **settings}
    num_records = partial(_count, sources, exclude) if progress else None
    return ImageRun(detector, feed, options, num_records)


class ImageRun:
    """The records of one `detect_images` call. Iterate it once, with `for` or `async for`.

    When that ends before the end, the outcomes of the latest 10,000 records are in the detector's
    `last_run`, with what was finished and not yet handed out; a `KeyboardInterrupt` carries them
    as `outcomes`. They are in input order, None for an image that was not finished.
    """

    def __init__(
        self,
        detector: AsyncDetector,
        open_feed: Callable[[], Feed],
        options: dict[str, Any],
        num_records: Callable[[], int | None] | None,
    ) -> None:
        self._detector = detector
        self._open_feed = open_feed
        self._options = options
        self._num_records = num_records
        self._unfinished = Unfinished(self._remember)

    def __iter__(self) -> Iterator[ImageRecord]:
        records = self._records()
        if self._num_records is None:
            return records
        return counted(records, self._num_records(), _is_failed)

    def __aiter__(self) -> AsyncIterator[ImageRecord]:
        records = self._records_async()
        if self._num_records is None:
            return records
        return counted_async(records, self._num_records(), _is_failed)

    def _records(self) -> Iterator[ImageRecord]:
        with self._feed() as feed:
            outcomes: Any = self._detector.map(feed.images(), **self._options)
            with closing(outcomes):
                for outcome in outcomes:
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
    def _feed(self) -> Iterator[Feed]:
        before = self._detector.last_run
        with closing(self._open_feed()) as feed:
            try:
                yield feed
            except BaseException as stop:
                # The engine has ended, and left there what it had in hand.
                left = self._detector.last_run
                rest = () if left is None or left is before else feed.left(left)
                self._unfinished.stopped(stop, rest)
                raise

    def _kept(self, records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
        for record in records:
            self._unfinished.add(record.outcome)
            yield record

    def _remember(self, outcomes: Outcomes) -> None:
        self._detector.last_run = outcomes


def _count(sources: Iterable[ImageInput], exclude: str | os.PathLike[str] | None) -> int | None:
    """How many records there will be, if that can be known without consuming anything."""
    if not isinstance(sources, (list, tuple)):
        return None
    return sum(
        num_files(source, exclude) if isinstance(source, (str, os.PathLike)) else 1
        for source in sources
    )


def _is_failed(record: ImageRecord) -> bool:
    return record.failure is not None
