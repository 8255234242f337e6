"""`AsyncDetector`: the public face of the engine, for `await` and plain calls alike.

Turns arguments into items and outcomes into results or errors; everything that happens between
is in `engine.py` and below. Knows arrays and results; never files, videos or tables.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import numpy as np

from detkit.api.batcher import Overflow
from detkit.api.batches import BatchCall, partial_batch_error
from detkit.api.engine import Engine, Item
from detkit.api.flow import iterate_async, iterate_sync
from detkit.api.lifetime import abandon
from detkit.api.replies import FUTURE_REPLY, LoopReplies, Reply
from detkit.api.statistics import EngineStatistics
from detkit.detection.abstract import DEFAULT_SETTINGS, AbstractDetector, DetectionSettings
from detkit.detection.threads import usable_cores
from detkit.errors import (
    DetectorClosed,
    DroppedError,
    InvalidImageError,
    ItemFailure,
    QueueFullError,
    Stage,
)
from detkit.images import RGBImage, validate_image
from detkit.results import DetectionResult

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


F = TypeVar("F", "Future[DetectionResult]", "asyncio.Future[DetectionResult]")


class SettingsOptions(TypedDict, total=False):
    """Keywords that one call may set; see `DetectionSettings` for each."""

    confidence_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    classes: Sequence[int] | None
    agnostic_nms: bool | None


class AsyncDetector:
    """Non-blocking, thread-safe, batching wrapper round one detector.

    Calls that arrive while the workers are busy are served together, whichever task, thread or
    event loop they come from. A failing image costs no other its result. Every method may be
    called from any thread; results come in input order.

    Args:
        detector: An `AbstractDetector`, or anything with a `detect(image)` method.
        max_workers: Most worker threads. The first calls `detector` itself, each further one a
            `replicate()` of it. A detector that can neither be replicated nor shared gets one
            worker. May be assigned while work is running.
        default_batch_size: Most images in one call of the detector. May be assigned likewise.
        batch_timeout_s: How long a lone image waits for company, in seconds. 0 (the default)
            means not at all: batches form while workers are busy. May be assigned likewise.
        max_queue_size: Most images that wait.
        overflow: What happens to one more: "block" makes its caller wait, "reject" raises
            `QueueFullError`, "drop_oldest" ends the one that waited longest with
            `DroppedError`.
        hang_timeout_s: A call of the detector that takes longer than this ends with
            `WorkerHungError` and its worker is replaced. None (the default): wait for ever.
        num_threads: CPU threads of all workers together, divided among them by detectors that can
            tell their library, as `YOLOv8Detector` does. None: what the detector was loaded with,
            else all cores that the process may use. More workers than threads share them.

    Raises:
        ValueError: If a number is out of range.
        TypeError: If `detector` has no `detect` method.

    Example:
        >>> from detkit import AsyncDetector
        >>> from detkit.samples import sample_detector, scene
        >>> image, _ = scene(seed=7)
        >>> with AsyncDetector(sample_detector()) as detector:
        ...     results = detector.detect_batch([image, image])
        >>> len(results)
        2
    """

    def __init__(
        self,
        detector: AbstractDetector | Any,
        max_workers: int = 4,
        default_batch_size: int = 16,
        *,
        batch_timeout_s: float = 0.0,
        max_queue_size: int = 1024,
        overflow: Overflow = "block",
        hang_timeout_s: float | None = None,
        num_threads: int | None = None,
    ) -> None:
        if overflow not in ("block", "reject", "drop_oldest"):
            raise ValueError(f"overflow must be block, reject or drop_oldest, got {overflow!r}")
        if hang_timeout_s is not None and not hang_timeout_s > 0:
            raise ValueError(f"hang_timeout_s must be positive, got {hang_timeout_s!r}")
        self._hang_timeout_s = hang_timeout_s
        self._engine = Engine(
            detector,
            _at_least_one(max_workers, "max_workers"),
            _at_least_one(default_batch_size, "default_batch_size"),
            batch_timeout_s=_seconds(batch_timeout_s, "batch_timeout_s"),
            max_queue_size=_at_least_one(max_queue_size, "max_queue_size"),
            overflow=overflow,
            hang_timeout_s=hang_timeout_s,
            num_threads=None if num_threads is None else _at_least_one(num_threads, "num_threads"),
        )
        self._given_threads = num_threads
        if self._engine.threads.num_threads > usable_cores():
            warnings.warn(
                f"{self._engine.threads.num_threads} threads for {usable_cores()} cores: they "
                "take turns, which is slower; leave num_threads out to use the cores there are",
                RuntimeWarning,
                stacklevel=2,
            )
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopReplies] = (
            weakref.WeakKeyDictionary()
        )
        self.last_run: list[DetectionResult | ItemFailure | None] | None = None
        finalizer = weakref.finalize(self, abandon, self._engine)
        finalizer.atexit = False  # the engine sees to the end of the interpreter itself

    # -- one image ----------------------------------------------------------------------------

    async def detect_async(
        self,
        image: RGBImage,
        *,
        timeout_s: float | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> DetectionResult:
        """Detect in one image without blocking the event loop.

        Cancelling the awaiting task takes an image that still waits out of the queue.

        Args:
            image: RGB uint8 array of shape (H, W, 3). Must not be changed until the result is
                there.
            timeout_s: Longest time until the result, waiting included, in seconds.
            **settings: Settings for this call alone, such as `confidence_threshold=0.5`.

        Returns:
            Boxes in pixels of `image`; `metadata` tells `num_detections`, `image_hw`,
            `class_names`, `model`, `inference_ms`, `queue_ms`, `worker` and `batch_size`.

        Raises:
            InvalidImageError: A `ValueError`; the image is not what it should be.
            DetectorClosed: A `RuntimeError`; after shutdown.
            DetectionTimeoutError: After `timeout_s`.
            QueueFullError, DroppedError: As `overflow` declares.
            Exception: Whatever the detector raised for this image.
        """
        self._engine.check_open()
        loop = asyncio.get_running_loop()
        replies = self._replies(loop)
        future: asyncio.Future[DetectionResult] = loop.create_future()
        item = self._item(image, _settings(settings), None, replies, future)
        replies.send(item, self.default_batch_size)
        timer = None
        if timeout_s is not None:
            timer = loop.call_later(timeout_s, self._engine.expire, (item,), timeout_s)
        replies.expect()
        try:
            return await future
        except (asyncio.CancelledError, GeneratorExit):
            self._engine.cancel((item,))
            raise
        finally:
            replies.arrived()
            if timer is not None:
                timer.cancel()
            del future  # a traceback that somebody keeps leads to this frame

    def detect(
        self,
        image: RGBImage,
        *,
        timeout_s: float | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> DetectionResult:
        """Detect in one image and wait for the result; arguments and errors as `detect_async`."""
        call = BatchCall(self._engine, [image], _settings(settings), None)
        outcome = call.run(timeout_s).outcomes[0]
        if isinstance(outcome, DetectionResult):
            return outcome
        assert outcome is not None, "a finished call has an outcome for every image"
        raise outcome.exception

    def submit(
        self, image: RGBImage, **settings: Unpack[SettingsOptions]
    ) -> Future[DetectionResult]:
        """Hand an image in and get a future; blocks only while a full queue blocks.

        Cancelling the future takes an image that still waits out of the queue.

        Raises:
            InvalidImageError: The image is not what it should be.
            DetectorClosed: After shutdown.
        """
        self._engine.check_open(waits=False)
        future: Future[DetectionResult] = Future()
        item = self._item(image, _settings(settings), None, FUTURE_REPLY, future)
        self._engine.wait_for_space()
        self._track(item, future)
        return future

    # -- many images --------------------------------------------------------------------------

    def detect_batch(
        self,
        images: Iterable[RGBImage],
        batch_size: int | None = None,
        *,
        timeout_s: float | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> list[DetectionResult]:
        """Detect in many images, in chunks, on all workers; wait for all of them.

        Works inside a running event loop too, which it blocks meanwhile.

        Args:
            images: RGB uint8 arrays of shape (H, W, 3), of any sizes.
            batch_size: Most images in one call of the detector. None: `default_batch_size`,
                divided evenly when workers are idle.
            timeout_s: Longest time for the whole call, in seconds.
            **settings: Settings for this call alone.

        Returns:
            One result per image, in input order.

        Raises:
            ValueError: If there are no images, or `batch_size < 1`.
            PartialBatchError: If some images have no result; it holds all the others, tells
                what happened to each, and can `retry()`.
            DetectorClosed: A `RuntimeError`; after shutdown.
        """
        call = BatchCall(self._engine, images, _settings(settings), batch_size)
        try:
            return call.run(timeout_s).results_or_raise()
        except KeyboardInterrupt as interrupt:
            self.last_run = call.outcomes
            interrupt.outcomes = call.outcomes  # type: ignore[attr-defined]
            raise

    async def detect_batch_async(
        self,
        images: Iterable[RGBImage],
        batch_size: int | None = None,
        *,
        timeout_s: float | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> list[DetectionResult]:
        """`detect_batch`, awaited: arguments, results and errors are the same."""
        self._engine.check_open()
        loop = asyncio.get_running_loop()
        replies = self._replies(loop)
        call = BatchCall(self._engine, images, _settings(settings), batch_size)
        replies.expect()
        try:
            await call.run_async(replies, loop.create_future(), timeout_s)
        except asyncio.CancelledError:
            self.last_run = call.outcomes
            raise
        finally:
            replies.arrived()
        return call.results_or_raise()

    def map(
        self,
        images: Iterable[RGBImage],
        *,
        ordered: bool = True,
        max_in_flight: int | None = None,
        on_error: Literal["raise", "yield"] = "raise",
        **settings: Unpack[SettingsOptions],
    ) -> Iterator[DetectionResult | ItemFailure]:
        """Detect in a lazily consumed series of images, however long.

        Args:
            images: Consumed only as fast as results are taken; at most `max_in_flight` ahead.
            ordered: Input order (the default), or as they are finished.
            max_in_flight: Most images between input and output. None: enough to keep the
                workers busy, `2 * max_workers * default_batch_size`, at most `max_queue_size`.
            on_error: "raise" ends the series at the first failing image; "yield" puts an
                `ItemFailure` in the place of its result and goes on.
            **settings: Settings for this call alone.

        Yields:
            One result, or with `on_error="yield"` perhaps an `ItemFailure`, per image.
        """
        self._engine.check_open()
        chosen = _settings(settings)

        def start(image: RGBImage, future: Future[DetectionResult]) -> None:
            self._track(self._item(image, chosen, None, FUTURE_REPLY, future), future)

        return iterate_sync(start, images, self._window(max_in_flight), ordered, on_error)

    def stream(
        self,
        images: Iterable[RGBImage] | AsyncIterable[RGBImage],
        *,
        ordered: bool = True,
        max_in_flight: int | None = None,
        on_error: Literal["raise", "yield"] = "raise",
        **settings: Unpack[SettingsOptions],
    ) -> AsyncIterator[DetectionResult | ItemFailure]:
        """`map` for `async for`; takes a plain or an asynchronous iterable.

        A plain iterable that is no list or tuple is consumed on a thread of its own, so that
        reading from a disk or a camera does not block the event loop.
        """
        self._engine.check_open()
        chosen = _settings(settings)

        def start(image: RGBImage, future: asyncio.Future[DetectionResult]) -> None:
            replies = self._replies(future.get_loop())
            self._track(self._item(image, chosen, None, replies, future), future)

        window = self._window(max_in_flight)
        return iterate_async(start, self._replies, images, window, ordered, on_error)

    # -- knobs and numbers --------------------------------------------------------------------

    @property
    def detector(self) -> Any:
        """The wrapped detector."""
        return self._engine.facts.detector

    @property
    def max_workers(self) -> int:
        """Most worker threads; assign to change it while work is running."""
        return self._engine.pool.max_workers

    @max_workers.setter
    def max_workers(self, value: int) -> None:
        self._engine.set_knob(max_workers=_at_least_one(value, "max_workers"))

    @property
    def default_batch_size(self) -> int:
        """Most images in one call of the detector; assign to change it while work is running."""
        return self._engine.batcher.max_batch_size

    @default_batch_size.setter
    def default_batch_size(self, value: int) -> None:
        self._engine.set_knob(batch_size=_at_least_one(value, "default_batch_size"))

    @property
    def batch_timeout_s(self) -> float:
        """How long a lone image waits for company, in seconds; assign likewise."""
        return self._engine.batcher.batch_timeout_s

    @batch_timeout_s.setter
    def batch_timeout_s(self, value: float) -> None:
        self._engine.set_knob(batch_timeout_s=_seconds(value, "batch_timeout_s"))

    def statistics(self) -> EngineStatistics:
        """Counters, queue, batch sizes, latencies and throughput, as one frozen snapshot."""
        return self._engine.statistics()

    def get_stats(self) -> dict[str, Any]:
        """The settings and everything in `statistics()`, as a dictionary.

        Returns:
            `max_workers`, `default_batch_size`, `shutdown`, `detector_loaded`, further settings,
            `num_threads` of all workers and `threads_per_worker` of each, and one entry per field
            of `EngineStatistics`.
        """
        batcher, threads = self._engine.batcher, self._engine.threads
        return {
            "max_workers": self.max_workers,
            "default_batch_size": self.default_batch_size,
            "shutdown": self._engine.is_closed,
            "detector_loaded": self._engine.facts.is_loaded,
            "batch_timeout_s": batcher.batch_timeout_s,
            "max_queue_size": batcher.max_queue_size,
            "overflow": batcher.overflow,
            "num_threads": threads.num_threads,
            "threads_per_worker": threads.threads_per_call,
            **asdict(self.statistics()),
        }

    # -- the end ------------------------------------------------------------------------------

    def shutdown(
        self, wait: bool = True, *, cancel_pending: bool = False, timeout_s: float | None = None
    ) -> None:
        """Take no more images, finish those accepted, end the workers. May be called again.

        Args:
            wait: Whether to return only when the workers have ended. False: at once; what was
                accepted is finished meanwhile.
            cancel_pending: End what waits with `DetectorClosed` instead of finishing it.
            timeout_s: With `wait`: after this long, end what still waits with `DetectorClosed`
                and return, in seconds.
        """
        self._engine.close(wait=wait, cancel_pending=cancel_pending, timeout_s=timeout_s)

    async def aclose(self, *, cancel_pending: bool = False) -> None:
        """`shutdown`, awaited: the event loop goes on while workers finish."""
        self._engine.close(wait=False, cancel_pending=cancel_pending)
        loop = asyncio.get_running_loop()
        replies, ended = self._replies(loop), loop.create_future()

        def wait_for_workers() -> None:
            self._engine.close(wait=True)
            replies.deliver([(ended, None)])

        # Not the loop's executor: its threads would hold the end of the interpreter if a worker
        # never came back.
        Thread(target=wait_for_workers, name="detkit-closer", daemon=True).start()
        replies.expect()
        try:
            await ended
        finally:
            replies.arrived()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(wait=not _is_stop(error), cancel_pending=_is_stop(error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _is_stop(error):
            self.shutdown(wait=False, cancel_pending=True)
        else:
            await self.aclose()

    def __repr__(self) -> str:
        name = type(self.detector).__name__
        state = ", shut down" if self._engine.is_closed else ""
        return (
            f"AsyncDetector({name}, max_workers={self.max_workers}, "
            f"default_batch_size={self.default_batch_size}{state})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # Threads stay behind; the copy starts its own.
        batcher = self._engine.batcher
        options: dict[str, Any] = {
            "batch_timeout_s": batcher.batch_timeout_s,
            "max_queue_size": batcher.max_queue_size,
            "overflow": batcher.overflow,
            "hang_timeout_s": self._hang_timeout_s,
            "num_threads": self._given_threads,
        }
        arguments = (self.detector, self.max_workers, self.default_batch_size)
        return (partial(AsyncDetector, **options), arguments)

    # -- inside -------------------------------------------------------------------------------

    def _item(
        self,
        image: RGBImage,
        settings: DetectionSettings,
        batch_size: int | None,
        reply: Reply,
        token: Any,
    ) -> Item:
        image = validate_image(image)
        return Item(image, self._engine.key(image, settings, batch_size), reply, token)

    def _track(self, item: Item, future: F) -> None:
        """Submit; cancelling the future cancels the item, also in the middle of this."""
        engine = self._engine

        def give_up(done: F) -> None:
            if done.cancelled() and engine.cancel((item,)) and isinstance(done, Future):
                # Those who wait for several futures hear of a cancelled one only through this.
                done.set_running_or_notify_cancel()

        future.add_done_callback(give_up)
        engine.submit((item,))

    def _replies(self, loop: asyncio.AbstractEventLoop) -> LoopReplies:
        replies = self._loops.get(loop)
        if replies is None:
            replies = self._loops.setdefault(loop, LoopReplies(loop, self._engine.submit))
        return replies

    def _window(self, max_in_flight: int | None) -> int:
        if max_in_flight is not None:
            return _at_least_one(max_in_flight, "max_in_flight")
        enough = 2 * self.max_workers * self.default_batch_size
        return min(enough, self._engine.batcher.max_queue_size)


async def detect_multiple_async(
    detector: AsyncDetector, images: Iterable[RGBImage]
) -> list[DetectionResult]:
    """Detect in several images at once with `asyncio.gather`.

    Args:
        detector: The detector to use.
        images: RGB uint8 arrays of shape (H, W, 3).

    Returns:
        One result per image, in input order; an empty list for no images.

    Raises:
        PartialBatchError: If some images have no result; it holds all the others.
        DetectorClosed: A `RuntimeError`; after shutdown.
    """
    given = list(images)
    calls = (detector.detect_async(image) for image in given)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    results = [o for o in outcomes if isinstance(o, DetectionResult)]
    if len(results) == len(given):
        return results
    if all(isinstance(o, DetectorClosed) for o in outcomes):
        raise DetectorClosed("the detector has been shut down")
    raise partial_batch_error(
        [
            o if isinstance(o, DetectionResult) else ItemFailure(index, _stage(o), o)
            for index, o in enumerate(outcomes)
        ]
    )


def _is_stop(error: BaseException | None) -> bool:
    """Whether a `with` block ends because somebody wants it to end now.

    Then it does not wait for a call of the detector that may take long: what runs is finished
    behind its back, what waits is not begun.
    """
    return isinstance(error, (KeyboardInterrupt, SystemExit, asyncio.CancelledError))


def _stage(error: BaseException) -> Stage:
    if isinstance(error, InvalidImageError):
        return "validate"
    turned_away = (DetectorClosed, QueueFullError, DroppedError)
    return "queue" if isinstance(error, turned_away) else "detect"


def _settings(options: SettingsOptions) -> DetectionSettings:
    return DetectionSettings(**options) if options else DEFAULT_SETTINGS  # type: ignore[arg-type]


def _at_least_one(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    return int(value)


def _seconds(value: float, name: str) -> float:
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0 seconds, got {value!r}")
    return float(value)
