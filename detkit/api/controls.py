"""`EngineControls`: the knobs, the numbers and the end of a running engine.

What every face of an engine has, however images are handed in. Knows the engine; never an image.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from detkit.api.arguments import at_least_one, seconds
from detkit.api.batcher import Overflow
from detkit.api.engine import Engine
from detkit.api.lifetime import abandon
from detkit.api.replies import LoopReplies
from detkit.api.statistics import EngineStatistics
from detkit.api.tuning import registered_tuner
from detkit.api.unfinished import Outcomes
from detkit.detection.threads import usable_cores
from detkit.images import RGBImage

if TYPE_CHECKING:
    from typing_extensions import Self


class EngineControls:
    """Starts an engine, changes its settings, tells its numbers, and ends it.

    For the arguments see `AsyncDetector`.
    """

    def __init__(
        self,
        detector: Any,
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
            at_least_one(max_workers, "max_workers"),
            at_least_one(default_batch_size, "default_batch_size"),
            batch_timeout_s=seconds(batch_timeout_s, "batch_timeout_s"),
            max_queue_size=at_least_one(max_queue_size, "max_queue_size"),
            overflow=overflow,
            hang_timeout_s=hang_timeout_s,
            num_threads=None if num_threads is None else at_least_one(num_threads, "num_threads"),
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
        self._latest_replies: LoopReplies | None = None
        # Outcomes of the latest call that was stopped: in input order, None: not finished.
        self.last_run: Outcomes | None = None
        finalizer = weakref.finalize(self, abandon, self._engine)
        finalizer.atexit = False  # the engine sees to the end of the interpreter itself

    # -- knobs and numbers --------------------------------------------------------------------

    @property
    def detector(self) -> Any:
        """The wrapped detector; assign another to change it while work is running.

        Calls under way end with the old one, which is not closed. What waits goes to the new
        one, which should take the same images and settings.
        """
        return self._engine.facts.detector

    @detector.setter
    def detector(self, value: Any) -> None:
        self._engine.replace_detector(value)

    @property
    def max_workers(self) -> int:
        """Most worker threads; assign to change it while work is running."""
        return self._engine.pool.max_workers

    @max_workers.setter
    def max_workers(self, value: int) -> None:
        self._engine.set_knob(max_workers=at_least_one(value, "max_workers"))

    @property
    def default_batch_size(self) -> int:
        """Most images in one call of the detector; assign to change it while work is running."""
        return self._engine.batcher.max_batch_size

    @default_batch_size.setter
    def default_batch_size(self, value: int) -> None:
        self._engine.set_knob(batch_size=at_least_one(value, "default_batch_size"))

    @property
    def batch_timeout_s(self) -> float:
        """How long a lone image waits for company, in seconds; assign likewise."""
        return self._engine.batcher.batch_timeout_s

    @batch_timeout_s.setter
    def batch_timeout_s(self, value: float) -> None:
        self._engine.set_knob(batch_timeout_s=seconds(value, "batch_timeout_s"))

    def tune(
        self,
        images: Iterable[RGBImage],
        *,
        seconds: float = 20.0,
        goal: str = "throughput",
        use_cache: bool = True,
        progress: bool = False,
    ) -> Any:
        """Find the setting that is best on this machine for images like these.

        Blocks for about `seconds` and changes nothing until `apply()` is called on the report.
        `detkit.benchmark.tune` does the same with more to choose from.

        Args:
            images: Images like those to come, uint8 RGB; used round and round.
            seconds: How long to search, in seconds.
            goal: "throughput", "latency" or like "fps>=30".
            use_cache: Whether an earlier answer to the same question may be taken after a check.
            progress: Whether to show a bar: how much of the time is over, and failed images.

        Returns:
            A `detkit.benchmark.TuneReport`: `print` it for one sentence of advice.

        Raises:
            ValueError: If there are no images, or an argument is out of range.
            InvalidImageError: If an image is not uint8 RGB.
            TuningError: If every image failed with every setting.
            DetectorClosed: After shutdown.
        """
        self._engine.check_open()
        return registered_tuner()(
            self, images, seconds=seconds, goal=goal, use_cache=use_cache, progress=progress
        )

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
        self._hand_in()
        self._engine.close(wait=wait, cancel_pending=cancel_pending, timeout_s=timeout_s)

    async def aclose(self, *, cancel_pending: bool = False) -> None:
        """`shutdown`, awaited: the event loop goes on while workers finish."""
        self._hand_in()
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
            f"{type(self).__name__}({name}, max_workers={self.max_workers}, "
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
        return (partial(type(self), **options), arguments)

    # -- inside -------------------------------------------------------------------------------

    def _hand_in(self) -> None:
        """What tasks of this loop handed in before, in the same turn, is accepted too."""
        try:
            replies = self._loops.get(asyncio.get_running_loop())
        except RuntimeError:  # no loop runs on this thread
            return
        if replies is not None:
            replies.flush()

    def _remember(self, outcomes: Outcomes) -> None:
        self.last_run = outcomes

    def _replies(self, loop: asyncio.AbstractEventLoop) -> LoopReplies:
        latest = self._latest_replies  # mostly there is one loop; looking it up takes longer
        if latest is not None and latest.is_for(loop):
            return latest
        replies = self._loops.get(loop)
        if replies is None:
            replies = self._loops.setdefault(loop, LoopReplies(loop, self._engine.submit))
        self._latest_replies = replies
        return replies


def _is_stop(error: BaseException | None) -> bool:
    """Whether a `with` block ends because somebody wants it to end now.

    Then it does not wait for a call of the detector that may take long: what runs is finished
    behind its back, what waits is not begun.
    """
    return isinstance(error, (KeyboardInterrupt, SystemExit, asyncio.CancelledError))
