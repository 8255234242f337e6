"""`Player`: runs a source through a detector and hands on one frame after the other, in order.

Owns the one thread that waits for results and keeps time, and on which `submitted` reads ahead;
commands come from any thread and are taken up at once. Every frame between the start and the end of
a stretch is detected, however few of them anybody looks at. Knows frames and the detector; never a
widget.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from detkit.errors import UnsupportedSettingError
from detkit.pipeline.tracking import Tracks, make_tracks
from detkit.threads import Thread
from detkit.video.frames import Frame
from detkit.widgets.playing import Orders, Shown, State
from detkit.widgets.submitted import Submitted

if TYPE_CHECKING:
    from detkit.api.async_detector import AsyncDetector
    from detkit.widgets.submitted import Entry

_JOIN_TIMEOUT_S = 5.0


class Player:
    """Plays `source` through `detector`, paused at first.

    Args:
        source: Iterable of `Frame`. Going back needs one that can be iterated again.
        detector: Stays open.
        on_frame: Called with every frame in order, on the player's thread; must not block.
        on_state: Called with the state when it changes, likewise.
        on_error: Called with what ended playing, likewise.
        confidence_threshold: Lowest score asked of the detector.
        clock: Seconds, steady.
    """

    def __init__(
        self,
        source: Iterable[Frame],
        detector: AsyncDetector,
        *,
        on_frame: Callable[[Shown], None],
        on_state: Callable[[State], None],
        on_error: Callable[[BaseException], None],
        confidence_threshold: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._on_frame, self._on_state, self._on_error = on_frame, on_state, on_error
        self._clock = clock
        self._orders = Orders()
        self._changed = threading.Condition()
        self._submitted = Submitted(source, detector, confidence_threshold, clock, self._wake)
        self._tracks: Tracks | None = None
        self._state: State = "paused"
        self._is_idle = False
        self._thread = Thread(target=self._run, name="detkit-player", daemon=True)
        self._thread.start()

    # -- orders, from any thread ---------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the player does now."""
        return self._state

    @property
    def is_playing(self) -> bool:
        """Whether it was told to play and has not come to the end."""
        return self._orders.is_playing

    @property
    def num_skipped(self) -> int:
        """Frames that a live source gave and nobody could take."""
        return self._submitted.num_skipped

    def wait_for_rest(self, timeout_s: float) -> bool:
        """Wait until there is nothing left to do; whether that came."""

        def rests() -> bool:
            return self._state in ("paused", "ended", "closed") and self._is_idle

        with self._changed:
            return self._changed.wait_for(lambda: self._orders.is_playing or rests(), timeout_s)

    def play(self) -> None:
        """Go on; at the end of the source, from its start."""
        rewind = 0 if self._state == "ended" else None
        if rewind is not None:
            self._check_rewind()
        self._order(is_playing=True, num_steps=0, anchor=None, seek_to=rewind)

    def pause(self) -> None:
        """Stand still on the frame shown."""
        self._order(is_playing=False, num_steps=0)

    def step(self) -> None:
        """Pause, and show the next frame."""
        with self._changed:
            self._is_idle = False
            self._orders.is_playing = False
            self._orders.num_steps += 1
            self._changed.notify_all()

    def seek(self, frame_index: int) -> None:
        """Show this frame, and play on from there if playing.

        Raises:
            UnsupportedSettingError: If the source can be read once only.
        """
        self._check_rewind()
        self._order(seek_to=max(0, frame_index), anchor=None)
        self._submitted.abandon()

    def _check_rewind(self) -> None:
        if not self._submitted.can_rewind:
            raise UnsupportedSettingError("this source can only be played forwards, once")

    def set_speed(self, speed: float | None) -> None:
        """Times the source's own speed; `None` is as fast as the detector can."""
        self._order(speed=speed, anchor=None)

    def set_tracking(self, is_on: bool) -> None:
        """Number the objects from the next frame on; after a seek the numbers begin anew.

        Raises:
            MissingPackageError: If the extra `track` is not installed.
        """
        if is_on != (self._tracks is not None):
            self._tracks = make_tracks(is_on, self._source)

    def close(self) -> None:
        """Stop, release the source, end the thread. Idempotent."""
        self._order(is_closed=True)
        self._submitted.end()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_TIMEOUT_S)

    def _order(self, **orders: object) -> None:
        with self._changed:
            self._is_idle = False
            for name, value in orders.items():
                setattr(self._orders, name, value)
            self._changed.notify_all()

    # -- the player's thread -------------------------------------------------------------------

    def _run(self) -> None:
        while not self._orders.is_closed:
            try:
                self._wait_for_orders()
                self._obey()
            except Exception as error:  # noqa: BLE001  shown by whoever owns the player
                self._order(is_playing=False, num_steps=0)
                self._drop()
                self._say("paused")
                self._on_error(error)
        self._drop()
        self._say("closed")

    def _wait_for_orders(self) -> None:
        orders = self._orders
        with self._changed:
            if not (orders.is_playing or orders.num_steps or orders.seek_to is not None):
                self._say("ended" if self._state == "ended" else "paused")
                self._is_idle = True
                self._changed.notify_all()
            self._changed.wait_for(
                lambda: (
                    orders.is_closed
                    or orders.is_playing
                    or orders.num_steps
                    or orders.seek_to is not None
                )
            )

    def _obey(self) -> None:
        orders = self._orders
        with self._changed:
            self._is_idle = False
            target, orders.seek_to = orders.seek_to, None
            if target is not None and not orders.is_playing:
                orders.num_steps = 1
        if orders.is_closed:
            return
        if target is not None:
            self._say("seeking")
            self._reopen(target)
        self._say("playing" if orders.is_playing else self._state)
        self._submitted.fill(lambda: orders.is_closed)
        if self._submitted.first is not None:
            self._hand_on(self._submitted.first)
        elif orders.seek_to is None and not orders.is_closed:
            self._submitted.raise_late_error()
            self._order(is_playing=False, num_steps=0)
            self._say("ended")

    def _hand_on(self, first: Entry) -> None:
        """Wait until the next frame is detected and due, then hand it on; or until an order."""
        frame, fresh_at = first.frame, first.fresh_at
        orders = self._orders

        def is_disturbed() -> bool:
            return orders.is_closed or orders.seek_to is not None or not orders.is_moving

        with self._changed:
            self._changed.wait_for(lambda: first.future.done() or is_disturbed())
            while not is_disturbed():
                now = self._clock()
                due = orders.due_at(frame, now)
                if due <= now:
                    # Held back on purpose is not old.
                    fresh_at = max(fresh_at, due if orders.is_playing and orders.speed else 0)
                    break
                self._changed.wait(due - now)
            if is_disturbed():
                return
            self._submitted.take_first()
            orders.num_steps = max(0, orders.num_steps - 1)
        outcome, tracks = first.outcome(), self._tracks
        outcome = outcome if tracks is None else tracks.follow(frame, outcome)
        self._on_frame(Shown(frame, outcome, fresh_at))

    def _wake(self, _: object) -> None:
        with self._changed:
            self._changed.notify_all()

    def _reopen(self, target: int) -> None:
        self._tracks = make_tracks(self._tracks is not None, self._source)
        self._submitted.reopen(target)

    def _drop(self) -> None:
        # A source that can be read once only is kept: its next frame is still to come.
        is_kept = not self._orders.is_closed and not self._submitted.can_rewind
        self._submitted.drop(keep_source=is_kept)

    def _say(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._on_state(state)
