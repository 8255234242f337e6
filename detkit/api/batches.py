"""One call for many images: made into items, collected, and answered with results or one error.

The synchronous and the awaited batch differ in how they wait, and in nothing else.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from detkit.api.engine import Engine
from detkit.api.ledger import Item
from detkit.api.replies import Collector, LoopReplies
from detkit.api.waiting import HEARTBEAT_S, wait_for
from detkit.api.workers import Failed
from detkit.detection.abstract import DetectionSettings
from detkit.errors import (
    DetectorContractError,
    InvalidImageError,
    ItemFailure,
    PartialBatchError,
    Stage,
    describe,
)
from detkit.images import RGBImage
from detkit.progress import Progress
from detkit.results import DetectionResult


class BatchCall:
    """Many images on their way through an engine.

    Args:
        engine: The engine.
        images: What was given, valid or not.
        settings: Settings of the call.
        batch_size: Most images in one call of the detector; None: the engine's default.

    Raises:
        ValueError: If there are no images, or `batch_size < 1`.
        DetkitError: If the engine takes no work, or the settings cannot be honoured.
    """

    def __init__(
        self,
        engine: Engine,
        images: Iterable[RGBImage],
        settings: DetectionSettings,
        batch_size: int | None,
    ) -> None:
        engine.check_open()
        if batch_size is not None and (
            not isinstance(batch_size, (int, np.integer)) or batch_size < 1
        ):
            raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size!r}")
        if isinstance(images, np.ndarray) and images.ndim == 3:
            raise ValueError("images must be a list of images, got one: write [image]")
        if isinstance(images, (str, os.PathLike)):
            raise ValueError(
                "images must be a list of images, got a path: detkit.detect_images(detector, path) "
                "takes files and folders"
            )
        self._images = list(images)
        if not self._images:
            raise ValueError("images must not be empty")
        self._engine = engine
        self._settings = settings
        self._batch_size = batch_size
        self._failures: dict[int, ItemFailure] = {}
        self._complete = threading.Event()
        self._collector = Collector(len(self._images), self._complete.set)
        self._items = self._make_items()

    def run(self, timeout_s: float | None, *, progress: bool = False) -> BatchCall:
        """Submit and block until every image has an outcome, or `timeout_s` has passed.

        On KeyboardInterrupt what has no outcome yet is cancelled.
        """
        bar = Progress(len(self._images)) if progress else None

        def wait(patience_s: float) -> bool:
            is_complete = self._complete.wait(patience_s)
            self._show(bar)
            return is_complete

        try:
            self._submit()
            if not wait_for(wait, timeout_s):
                self._engine.ledger.expire(self._items, timeout_s or 0.0)
                wait_for(wait)
        except BaseException:
            self._engine.ledger.cancel(self._items)
            raise
        finally:
            self._items = []
            if bar is not None:
                bar.close()
        return self

    async def run_async(
        self,
        replies: LoopReplies,
        done: asyncio.Future[None],
        timeout_s: float | None,
        *,
        progress: bool = False,
    ) -> None:
        """Submit and await the same; when cancelled, so is what has no outcome yet."""
        self._collector.on_complete = lambda: replies.deliver([(done, None)])
        loop = asyncio.get_running_loop()
        timer = None
        if timeout_s is not None:
            timer = loop.call_later(timeout_s, self._engine.ledger.expire, self._items, timeout_s)
        bar = Progress(len(self._images)) if progress else None
        if bar is not None:
            self._show_until(done, bar)
        try:
            self._submit()
            await done
        except BaseException:
            self._engine.ledger.cancel(self._items)
            raise
        finally:
            self._items = []
            self._show(bar)
            if bar is not None:
                bar.close()
            if timer is not None:
                timer.cancel()

    def _show(self, bar: Progress | None) -> None:
        if bar is not None:
            bar.set(*self._collector.num_arrived)

    def _show_until(self, done: asyncio.Future[None], bar: Progress) -> None:
        if not done.done():
            self._show(bar)
            done.get_loop().call_later(HEARTBEAT_S, self._show_until, done, bar)

    @property
    def outcomes(self) -> list[DetectionResult | ItemFailure | None]:
        """What became of each image so far, in input order; None: not finished."""
        outcomes: list[DetectionResult | ItemFailure | None] = []
        for index, outcome in enumerate(self._collector.outcomes):
            if isinstance(outcome, Failed):
                outcomes.append(ItemFailure(index, outcome.stage, outcome.exception))
            else:
                outcomes.append(outcome)
        return outcomes

    def results_or_raise(self) -> list[DetectionResult]:
        """The results of a finished call, in input order.

        Raises:
            PartialBatchError: If any image has none.
        """
        outcomes = [outcome for outcome in self.outcomes if outcome is not None]
        results = [o for o in outcomes if isinstance(o, DetectionResult)]
        if len(results) == len(self._images):
            return results
        raise partial_batch_error(outcomes, lambda: self._retry(outcomes))

    def _retry(self, outcomes: Sequence[DetectionResult | ItemFailure]) -> list[DetectionResult]:
        failed = [o.index for o in outcomes if isinstance(o, ItemFailure)]
        images = [self._images[index] for index in failed]
        again = BatchCall(self._engine, images, self._settings, self._batch_size).run(None)
        merged = list(outcomes)
        for index, outcome in zip(failed, again.outcomes, strict=True):
            assert outcome is not None
            if isinstance(outcome, ItemFailure):
                outcome = ItemFailure(index, outcome.stage, outcome.exception)
            merged[index] = outcome
        results = [o for o in merged if isinstance(o, DetectionResult)]
        if len(results) == len(merged):
            return results
        raise partial_batch_error(merged, lambda: self._retry(merged))

    def _submit(self) -> None:
        if self._failures:
            self._collector.deliver(
                [(i, Failed(f.stage, f.exception)) for i, f in self._failures.items()]
            )
        if self._items:
            self._engine.submit(self._items)

    def _make_items(self) -> list[Item]:
        items: list[Item] = []
        for index, given in enumerate(self._images):
            try:
                item = self._engine.item(
                    given, self._settings, self._batch_size, self._collector, index
                )
            except (InvalidImageError, DetectorContractError) as error:
                stage: Stage = "validate" if isinstance(error, InvalidImageError) else "detect"
                self._failures[index] = ItemFailure(index, stage, error)
            else:
                items.append(item)
        return items


def partial_batch_error(
    outcomes: Sequence[DetectionResult | ItemFailure],
    retry: Callable[[], list[DetectionResult]] | None = None,
) -> PartialBatchError:
    """The error that says which images have no result and keeps those that have one."""
    results = [o for o in outcomes if isinstance(o, DetectionResult)]
    failures = [o for o in outcomes if isinstance(o, ItemFailure)]
    first = failures[0]
    message = (
        f"{len(failures)} of {len(outcomes)} images failed, the first is "
        f"#{first.index}: {describe(first.exception)}"
    )
    return PartialBatchError(
        message,
        len(results),
        len(outcomes),
        results,
        failures,
        outcomes=outcomes,
        retry=retry,
    )
