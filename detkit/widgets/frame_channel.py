"""`FrameChannel`: when the next picture may go to the browser. No thread, no clock, no widget.

Rule 1: at most `max_in_flight` pictures are under way: sent and not yet confirmed.
Rule 2: confirming picture n confirms every picture before it; a confirmation may come late, twice
or never.
Rule 3: a browser that has been silent for `patience_s` gets one picture per `patience_s`, in case
its confirmation was lost with a reloaded page. Nothing else is ever sent on a guess.
Rule 4: a confirmation is asked for only where it is needed: with the picture after which no more
may be sent, and with every one while the way to the browser and back is longer than the time
between two. A message to the kernel makes the page draw its busy sign and take it away again, which
costs as much as a picture.
Rule 5: while playing, pictures are `min_interval_s` apart, in the mean: one that came late, as its
frame did, is no reason for the next to be late. Above the 25 of film people see little more, and
when the detector runs as fast as it can, the cores belong to it.
"""

from __future__ import annotations

from collections import deque

# 17 a second: enough to follow what happens.
_SPARING_INTERVAL_S = 1 / 17


class FrameChannel:
    """Decides about sending; the caller sends, and says what happened.

    Args:
        max_in_flight: Most pictures between kernel and browser.
        patience_s: How long a silent browser is waited for, in seconds.
        min_interval_s: Time between two pictures while playing, in seconds.

    Attributes:
        must_confirm: Whether the browser is asked to confirm the picture sent last, by rule 4.
        is_sparing: Whether to send fewer pictures while playing, and leave the cores to others.
        num_sent: Pictures sent so far; the number of the latest.
        num_confirmed: Number of the latest confirmed picture.
        round_trip_s: From sending to confirmation, of the latest confirmed one; `None` before.

    Example:
        >>> channel = FrameChannel()
        >>> channel.send(now=0.0), channel.send(now=0.1), channel.may_send(now=0.2)
        (1, 2, False)
        >>> channel.confirm(1, now=0.2), channel.may_send(now=0.2)
        (True, True)
    """

    def __init__(
        self,
        max_in_flight: int = 2,
        patience_s: float = 2.0,
        min_interval_s: float = 0.039,
    ) -> None:
        self.max_in_flight = max_in_flight
        self.patience_s = patience_s
        self.min_interval_s = min_interval_s
        self.is_sparing = False
        self.num_sent = 0
        self.num_confirmed = 0
        self.round_trip_s: float | None = None
        self.must_confirm = True
        self._sent_at: deque[tuple[int, float]] = deque()
        self._last_sent = self._next_at = float("-inf")

    @property
    def in_flight(self) -> int:
        """Pictures sent and not yet confirmed, those given up on left out."""
        return len(self._sent_at)

    def may_send(self, now: float, *, is_playing: bool = False) -> bool:
        """Whether a picture may be sent at `now`, in seconds of any steady clock."""
        # A millisecond of grace: frames that come exactly at the rate must not lose every second.
        if is_playing and now < self._next_at - 1e-3:
            return False
        if len(self._sent_at) < self.max_in_flight:
            return True
        return now - self._last_sent >= self.patience_s

    @property
    def _interval_s(self) -> float:
        return max(self.min_interval_s, _SPARING_INTERVAL_S if self.is_sparing else 0.0)

    def send(self, now: float) -> int:
        """Note that a picture is sent at `now`; its number."""
        while len(self._sent_at) >= self.max_in_flight:
            self._sent_at.popleft()  # given up on, by rule 3
        self.num_sent += 1
        self._sent_at.append((self.num_sent, now))
        self._last_sent, interval_s = now, self._interval_s
        is_in_time = now - interval_s / 2 <= self._next_at <= now
        self._next_at = (self._next_at if is_in_time else now) + interval_s
        is_far = self.round_trip_s is None or self.round_trip_s > self._interval_s
        self.must_confirm = is_far or len(self._sent_at) >= self.max_in_flight
        return self.num_sent

    def confirm(self, number: int, now: float) -> bool:
        """Note that the browser has picture `number`; whether that was news."""
        if not self.num_confirmed < number <= self.num_sent:
            return False
        self.num_confirmed = number
        while self._sent_at and self._sent_at[0][0] <= number:
            sent_number, sent_at = self._sent_at.popleft()
            if sent_number == number:
                self.round_trip_s = now - sent_at
        return True


class RateMeter:
    """Events per second over the latest few seconds; time is an argument.

    Example:
        >>> meter = RateMeter(window_s=2.0)
        >>> for tenth in range(11):
        ...     meter.tick(tenth / 10)
        >>> round(meter.rate(1.0), 2)
        10.0
    """

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_s = window_s
        self._ticks: deque[float] = deque()

    def tick(self, now: float) -> None:
        """Note one event."""
        self._ticks.append(now)
        self._forget(now)

    def rate(self, now: float) -> float:
        """Events per second; 0 before the second one in the window."""
        self._forget(now)
        if len(self._ticks) < 2:
            return 0.0
        elapsed = max(now, self._ticks[-1]) - self._ticks[0]
        return (len(self._ticks) - 1) / elapsed if elapsed > 0 else 0.0

    def clear(self) -> None:
        """Forget everything, as after a pause."""
        self._ticks.clear()

    def _forget(self, now: float) -> None:
        while self._ticks and now - self._ticks[0] > self._window_s:
            self._ticks.popleft()
