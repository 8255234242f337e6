"""`Job`: a coroutine on a thread and an event loop of its own, that can be cancelled at once.

Knows threads and asyncio; nothing of panels or detectors.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from detkit.threads import Thread

End = Literal["Done", "Stopped", "Failed"]


class Job:
    """Runs `work()` once. Cancelling takes effect at its next await.

    Args:
        work: Makes the coroutine.
        on_end: Called last, on the job's thread, with how it ended and the error if it failed.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        on_end: Callable[[End, BaseException | None], None],
    ) -> None:
        self._work = work
        self._on_end = on_end
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_cancelled = False
        self._is_over = False
        self._ended = threading.Event()
        self._thread = Thread(target=self._run, name="detkit-job", daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._is_over

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until `on_end` has returned, in seconds at most; whether it has."""
        return self._ended.wait(timeout_s)

    def cancel(self) -> None:
        """End it soon. From any thread, also before `start` and after the end."""
        with self._lock:
            self._is_cancelled = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        how: End = "Done"
        failure: BaseException | None = None
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            how = "Stopped"
        except Exception as error:  # noqa: BLE001  shown in the panel
            how, failure = "Failed", error
        finally:
            with self._lock:
                self._loop = self._task = None
            self._is_over = True
            self._on_end(how, failure)
            self._ended.set()

    async def _main(self) -> None:
        with self._lock:
            if self._is_cancelled:
                return
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        await self._work()
