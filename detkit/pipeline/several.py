"""`detect_videos`: several sources at once through one detector, each on its own account.

Owns that they run beside each other, that none waits for another's frames, and that one which
fails ends alone. How one source is run is `detect_video`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from detkit.errors import ItemFailure
from detkit.pipeline.background import iterate_blocking
from detkit.pipeline.opening import VideoInput
from detkit.pipeline.video_run import Outcome, VideoRun
from detkit.pipeline.videos import detect_video
from detkit.progress import counted, counted_async
from detkit.video.frames import Frame
from detkit.video.ledger import FrameLedger

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector


class NamedOutcome(NamedTuple):
    """One frame of one of several sources.

    Attributes:
        name: The source, as it was named.
        frame: The frame.
        outcome: Its result, or with `on_error="yield"` an `ItemFailure`.
    """

    name: str
    frame: Frame
    outcome: Outcome


def detect_videos(
    detector: AsyncDetector,
    sources: Mapping[str, VideoInput] | Iterable[VideoInput],
    *,
    progress: bool = False,
    **options: Any,
) -> VideosRun:
    """Detect in several sources at once.

    Iterate what is returned with `async for`, or with `for` where blocking is fine. The frames of
    each source come in its own order; those of different sources as they are ready, and a source
    that waits holds up no other. The loop ends when all have ended. A source that fails ends
    alone: its error is in `errors` and in its ledger at once, and raised when all have ended.

    Args:
        detector: Stays open; all sources share it.
        sources: Whatever `detect_video` takes, by name; without names they are "0", "1" and so on.
        progress: Whether to show one bar for all of them: frames per second, failures, and the
            time left where every source announces its number of frames.
        **options: As for `detect_video`, for each source.

    Raises:
        VideoOpenError: At once, if a file is no video.
        SourceError: If a source is nothing that can be read.

    Example:
        >>> async def watch(detector):  # doctest: +SKIP
        ...     cameras = {"door": "rtsp://10.0.0.7/door", "yard": 0}
        ...     async for name, frame, result in detect_videos(detector, cameras):
        ...         print(name, frame.pts_seconds, len(result))
    """
    named: Mapping[str, VideoInput]
    if isinstance(sources, Mapping):
        named = sources
    else:
        named = {str(number): source for number, source in enumerate(sources)}
    runs = {name: detect_video(detector, source, **options) for name, source in named.items()}
    return VideosRun(runs, progress)


class VideosRun:
    """The outcomes of one `detect_videos` call. Iterate it once.

    Attributes:
        runs: One `VideoRun` per source, by name.
        errors: What ended a source, by name, for those that failed.
    """

    def __init__(self, runs: Mapping[str, VideoRun], progress: bool = False) -> None:
        self._progress = progress
        self.runs = dict(runs)
        self.errors: dict[str, Exception] = {}

    @property
    def ledgers(self) -> dict[str, FrameLedger]:
        """What became of every frame, by name of its source."""
        return {name: run.ledger for name, run in self.runs.items()}

    def terminate(self) -> None:
        """End all runs; see `VideoRun.terminate`."""
        for run in self.runs.values():
            run.terminate()

    def __iter__(self) -> Iterator[NamedOutcome]:
        outcomes = iterate_blocking(self._outcomes(), self.terminate)
        if not self._progress:
            return outcomes
        return counted(outcomes, self._num_expected(), _is_failed, unit="frames")

    def __aiter__(self) -> AsyncGenerator[NamedOutcome, None]:
        if not self._progress:
            return self._outcomes()
        return counted_async(self._outcomes(), self._num_expected(), _is_failed, unit="frames")

    def _num_expected(self) -> int | None:
        numbers = [run.num_expected() for run in self.runs.values()]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None

    async def _outcomes(self) -> AsyncGenerator[NamedOutcome, None]:
        # One outcome may wait for each source: who reads slowly slows all of them down.
        ready: asyncio.Queue[NamedOutcome | None] = asyncio.Queue(max(1, len(self.runs)))
        tasks = [
            asyncio.ensure_future(self._follow(name, run, ready)) for name, run in self.runs.items()
        ]
        num_running = len(tasks)
        try:
            while num_running:
                item = await ready.get()
                if item is None:
                    num_running -= 1
                else:
                    yield item
        finally:
            self.terminate()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for error in self.errors.values():
            raise error

    async def _follow(
        self, name: str, run: VideoRun, ready: asyncio.Queue[NamedOutcome | None]
    ) -> None:
        try:
            async with aclosing(aiter(run)) as pairs:
                async for frame, outcome in pairs:
                    await ready.put(NamedOutcome(name, frame, outcome))
        except Exception as error:  # noqa: BLE001  raised when all have ended
            self.errors[name] = error
        await ready.put(None)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {name}: {ledger!r}" for name, ledger in self.ledgers.items())
        return f"<VideosRun of {len(self.runs)} sources>{lines}"


def _is_failed(named: NamedOutcome) -> bool:
    return isinstance(named.outcome, ItemFailure)
