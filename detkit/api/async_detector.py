"""`AsyncDetector`: the public face of the engine, for `await` and plain calls alike.

Turns arguments into items and outcomes into results or errors; everything that happens between
is in `engine.py` and below. Knows arrays and results; never files, videos or tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from concurrent.futures import Future
from operator import length_hint
from typing import TYPE_CHECKING, Literal

from detkit.api.arguments import SettingsOptions, at_least_one, settings_of
from detkit.api.batches import BatchCall
from detkit.api.controls import EngineControls
from detkit.api.flow import iterate_async, iterate_sync
from detkit.api.futures import submit_for
from detkit.api.multiple import detect_multiple_async
from detkit.api.replies import FUTURE_REPLY
from detkit.api.unfinished import MAX_KEPT, Unfinished, keep
from detkit.errors import ItemFailure
from detkit.images import RGBImage
from detkit.progress import counted, counted_async
from detkit.results import DetectionResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["AsyncDetector", "SettingsOptions", "detect_multiple_async"]


class AsyncDetector(EngineControls):
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
        item = self._engine.item(image, settings_of(settings), None, replies, future)
        replies.send(item, self.default_batch_size * self.max_workers)
        timer = None
        if timeout_s is not None:
            timer = loop.call_later(timeout_s, self._engine.ledger.expire, (item,), timeout_s)
        replies.expect()
        try:
            return await future
        except (asyncio.CancelledError, GeneratorExit):
            self._engine.ledger.cancel((item,))
            raise
        finally:
            replies.arrived()
            if timer is not None:
                timer.cancel()
            del future, image  # a traceback that somebody keeps leads to this frame

    def detect(
        self,
        image: RGBImage,
        *,
        timeout_s: float | None = None,
        **settings: Unpack[SettingsOptions],
    ) -> DetectionResult:
        """Detect in one image and wait for the result; arguments and errors as `detect_async`."""
        call = BatchCall(self._engine, [image], settings_of(settings), None)
        outcome = call.run(timeout_s).outcomes[0]
        if isinstance(outcome, DetectionResult):
            return outcome
        assert outcome is not None, "a finished call has an outcome for every image"
        del call, image  # a traceback that somebody keeps leads to this frame
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
        item = self._engine.item(image, settings_of(settings), None, FUTURE_REPLY, future)
        self._engine.wait_for_space()
        submit_for(future, item, self._engine)
        return future

    # -- many images --------------------------------------------------------------------------

    def detect_batch(
        self,
        images: Iterable[RGBImage],
        batch_size: int | None = None,
        *,
        timeout_s: float | None = None,
        progress: bool = False,
        **settings: Unpack[SettingsOptions],
    ) -> list[DetectionResult]:
        """Detect in many images, in chunks, on all workers; wait for all of them.

        Works inside a running event loop too, which it blocks meanwhile.

        Args:
            images: RGB uint8 arrays of shape (H, W, 3), of any sizes.
            batch_size: Most images in one call of the detector. None: `default_batch_size`,
                divided evenly when workers are idle.
            timeout_s: Longest time for the whole call, in seconds.
            progress: Whether to show a bar: images per second, failures, time left.
            **settings: Settings for this call alone.

        Returns:
            One result per image, in input order.

        Raises:
            ValueError: If there are no images, or `batch_size < 1`.
            PartialBatchError: If some images have no result; it holds all the others, tells
                what happened to each, and can `retry()`.
            DetectorClosed: A `RuntimeError`; after shutdown.
            KeyboardInterrupt: If interrupted; its `outcomes`, and `last_run`, hold what was
                finished and None for what was not.
        """
        call = BatchCall(self._engine, images, settings_of(settings), batch_size)
        try:
            return call.run(timeout_s, progress=progress).results_or_raise()
        except KeyboardInterrupt as stop:
            keep(stop, call.outcomes, self._remember)
            raise

    async def detect_batch_async(
        self,
        images: Iterable[RGBImage],
        batch_size: int | None = None,
        *,
        timeout_s: float | None = None,
        progress: bool = False,
        **settings: Unpack[SettingsOptions],
    ) -> list[DetectionResult]:
        """`detect_batch`, awaited: arguments, results and errors are the same."""
        self._engine.check_open()
        loop = asyncio.get_running_loop()
        replies = self._replies(loop)
        call = BatchCall(self._engine, images, settings_of(settings), batch_size)
        replies.expect()
        try:
            await call.run_async(replies, loop.create_future(), timeout_s, progress=progress)
        except (asyncio.CancelledError, KeyboardInterrupt) as stop:
            keep(stop, call.outcomes, self._remember)
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
        max_kept: int = MAX_KEPT,
        progress: bool = False,
        **settings: Unpack[SettingsOptions],
    ) -> Iterator[DetectionResult | ItemFailure]:
        """Detect in a lazily consumed series of images, however long.

        Args:
            images: Consumed only as fast as results are taken; at most `max_in_flight` ahead.
                Asked on your thread: a result waits while a slow one is asked (`stream`: never).
            ordered: Input order (the default), or as they are finished.
            max_in_flight: Most images between input and output. None: enough to keep the
                workers busy, `2 * max_workers * default_batch_size`, at most `max_queue_size`.
            on_error: "raise" ends the series at the first failing image; "yield" puts an
                `ItemFailure` in the place of its result and goes on.
            max_kept: Most of the latest outcomes to keep for `last_run`.
            progress: Whether to show a bar, with the time left if `images` has a length.
            **settings: Settings for this call alone.

        Yields:
            One result, or with `on_error="yield"` perhaps an `ItemFailure`, per image. When the
            series ends before its end, the latest `max_kept` are in `last_run`, with what was
            finished and not yet handed out; a `KeyboardInterrupt` carries them as `outcomes`.
        """
        self._engine.check_open()
        chosen = settings_of(settings)

        def start(image: RGBImage, future: Future[DetectionResult]) -> None:
            item = self._engine.item(image, chosen, None, FUTURE_REPLY, future)
            submit_for(future, item, self._engine)

        window, unfinished = self._window(max_in_flight), Unfinished(self._remember, max_kept)
        outcomes = iterate_sync(start, images, window, ordered, on_error, unfinished)
        return counted(outcomes, length_hint(images) or None) if progress else outcomes

    def stream(
        self,
        images: Iterable[RGBImage] | AsyncIterable[RGBImage],
        *,
        ordered: bool = True,
        max_in_flight: int | None = None,
        on_error: Literal["raise", "yield"] = "raise",
        max_kept: int = MAX_KEPT,
        progress: bool = False,
        **settings: Unpack[SettingsOptions],
    ) -> AsyncIterator[DetectionResult | ItemFailure]:
        """`map` for `async for`; takes a plain or an asynchronous iterable.

        A plain iterable that is no list or tuple is consumed on a thread of its own, so that
        reading from a disk or a camera does not block the event loop.
        """
        self._engine.check_open()
        chosen = settings_of(settings)

        def start(image: RGBImage, future: asyncio.Future[DetectionResult]) -> None:
            replies = self._replies(future.get_loop())
            item = self._engine.item(image, chosen, None, replies, future)
            submit_for(future, item, self._engine)

        window, unfinished = self._window(max_in_flight), Unfinished(self._remember, max_kept)
        outcomes = iterate_async(
            start, self._replies, images, window, ordered, on_error, unfinished
        )
        return counted_async(outcomes, length_hint(images) or None) if progress else outcomes

    # -- inside -------------------------------------------------------------------------------

    def _window(self, max_in_flight: int | None) -> int:
        if max_in_flight is not None:
            return at_least_one(max_in_flight, "max_in_flight")
        enough = 2 * self.max_workers * self.default_batch_size
        return min(enough, self._engine.batcher.max_queue_size)
