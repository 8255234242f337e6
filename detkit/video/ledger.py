"""`FrameLedger`: what became of every frame of one source.

Owns counting and the times of frames. It is told what happens and when; it reads no clock itself
and knows no source, detector or data frame.
"""

from __future__ import annotations

import math
import struct
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from detkit.video.frames import EventKind, SourceEvent, Status

Fate = Literal["waiting", "detected", "failed", "dropped"]
DropReason = Literal["stride", "newer", "age", "left"]
_REASONS: tuple[DropReason, ...] = get_args(DropReason)

# A stream that breaks off every 5 s for half a day.
_MAX_EVENTS = 10_000
# An hour of a camera at 30 frames/s; older entries are forgotten, counts never.
_MAX_ENTRIES = 108_000


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One frame.

    Attributes:
        frame_index: Position in the source.
        pts_seconds: Its time in the source, or `None`.
        fate: "waiting", "detected", "failed" (the detector raised) or "dropped".
        reason: Why it was dropped: "stride" (left out on purpose), "newer" (a newer frame took
            its place), "age" (older than `max_age_s`) or "left" (the reader stopped first).
        captured_s: When it was read, in seconds of a monotonic clock.
        age_s: Its age when the detector took it, in seconds.
        latency_s: From its reading to its result, in seconds.
    """

    frame_index: int
    pts_seconds: float | None
    captured_s: float
    fate: Fate = "waiting"
    reason: DropReason | None = None
    age_s: float | None = None
    latency_s: float | None = None


class _Ended:
    """Entries that will not change, the newest `max_entries`, in 41 bytes each.

    As objects they took some 300, and a camera that runs all day must not look like a leak.

    Args:
        max_entries: The next one takes the place of the oldest.
        is_reserved: Take the memory of all at once, so that it stays the same from then on.
    """

    _FORM = struct.Struct("<dddddB")
    _ENDS: tuple[tuple[Fate, DropReason | None], ...] = (
        ("detected", None),
        ("failed", None),
        *(("dropped", reason) for reason in _REASONS),
    )

    def __init__(self, max_entries: int, *, is_reserved: bool) -> None:
        self._max_entries = max_entries
        self._num_added = 0
        self._packed = bytearray(max_entries * self._FORM.size if is_reserved else 0)

    def add(self, entry: LedgerEntry) -> None:
        times = (entry.pts_seconds, entry.captured_s, entry.age_s, entry.latency_s)
        end = self._ENDS.index((entry.fate, entry.reason))
        numbers = (math.nan if time is None else time for time in times)
        packed = self._FORM.pack(entry.frame_index, *numbers, end)
        at = self._num_added % self._max_entries * self._FORM.size
        self._packed[at : at + self._FORM.size] = packed
        self._num_added += 1

    def copy(self) -> _Ended:
        copied = _Ended(self._max_entries, is_reserved=False)
        copied._packed, copied._num_added = self._packed[:], self._num_added
        return copied

    def __iter__(self) -> Iterator[LedgerEntry]:
        for number in range(max(0, self._num_added - self._max_entries), self._num_added):
            at = number % self._max_entries * self._FORM.size
            index, pts_s, captured_s, age_s, latency_s, end = self._FORM.unpack_from(
                self._packed, at
            )
            fate, reason = self._ENDS[end]
            known = (_or_none(pts_s), captured_s, fate, reason)
            yield LedgerEntry(int(index), *known, _or_none(age_s), _or_none(latency_s))


def _or_none(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds


class FrameLedger:
    """Every frame of one source ends here exactly once. Thread-safe.

    `captured == detected + failed + dropped` once the source is done. `detkit.notebook` makes
    tables of it: `ledger_dataframe(ledger)` of the frames, with `by="source"` of several ledgers.

    Args:
        source_id: Name of the source.
        expected_frames: What it announced, or `None`.
        is_endless: Whether it goes on as long as anybody reads: then all memory that the entries
            will ever need, 4 MB, is taken now.

    Attributes:
        source_id: As given.
        expected_frames: As given, or what the source came to announce.
        status: "complete", "truncated", "corrupt" or "interrupted".
        num_damaged: What the source could not decode cleanly.
    """

    def __init__(
        self, source_id: str, expected_frames: int | None = None, *, is_endless: bool = False
    ) -> None:
        self.source_id = source_id
        self.expected_frames = expected_frames
        self.status: Status = "interrupted"
        self.num_damaged = 0
        self._lock = threading.Lock()
        self._fates: Counter[Fate] = Counter()
        self._reasons: Counter[str] = Counter()
        self._num_tickets = 0
        self._open: dict[int, LedgerEntry] = {}
        self._ended = _Ended(_MAX_ENTRIES, is_reserved=is_endless)
        self._events: deque[SourceEvent] = deque(maxlen=_MAX_EVENTS)
        self._event_counts: Counter[EventKind] = Counter()

    def capture(self, frame_index: int, pts_seconds: float | None, now_s: float) -> int:
        """A frame was read; returns the ticket by which it is known from now on."""
        with self._lock:
            self._num_tickets += 1
            self._open[self._num_tickets] = LedgerEntry(frame_index, pts_seconds, now_s)
            return self._num_tickets

    def take(self, ticket: int, now_s: float) -> float:
        """The detector takes a frame; returns its age in seconds."""
        with self._lock:
            entry = self._open[ticket]
            age_s = now_s - entry.captured_s
            self._open[ticket] = replace(entry, age_s=age_s)
        return age_s

    def drop(self, ticket: int, reason: DropReason) -> None:
        """A frame will not be detected."""
        with self._lock:
            self._reasons[reason] += 1
            self._end(ticket, fate="dropped", reason=reason)

    def settle(self, ticket: int, now_s: float, *, failed: bool = False) -> None:
        """A frame has its result, or the detector failed on it."""
        with self._lock:
            latency_s = now_s - self._open[ticket].captured_s
            self._end(ticket, fate="failed" if failed else "detected", latency_s=latency_s)

    def note(self, event: SourceEvent) -> None:
        """Something happened between two frames."""
        with self._lock:
            self._events.append(event)
            self._event_counts[event.kind] += 1

    def finish(self, status: Status) -> None:
        """Nothing more comes; what still waits was left behind."""
        with self._lock:
            self.status = status
            for ticket in list(self._open):
                self._reasons["left"] += 1
                self._end(ticket, fate="dropped", reason="left")

    def _end(self, ticket: int, **changes: Any) -> None:
        entry = replace(self._open.pop(ticket), **changes)
        self._fates[entry.fate] += 1
        self._ended.add(entry)

    @property
    def captured(self) -> int:
        """Frames read."""
        with self._lock:
            return self._num_tickets

    @property
    def detected(self) -> int:
        """Frames with a result."""
        return self._fates["detected"]

    @property
    def failed(self) -> int:
        """Frames that the detector failed on."""
        return self._fates["failed"]

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that were not detected, by reason."""
        with self._lock:
            return dict(self._reasons)

    @property
    def events(self) -> tuple[SourceEvent, ...]:
        """What happened between frames, in order: losses, reconnects, damage."""
        with self._lock:
            return tuple(self._events)

    @property
    def reconnects(self) -> int:
        """How often the source broke off and came back."""
        return self._event_counts["reconnected"]

    def summary(self) -> dict[str, Any]:
        """One flat mapping of all counts, with the median and 95th percentile of the times.

        `age_*_s` is a frame's age when the detector took it, `latency_*_s` its age when the
        result was there; `None` where there is none. `gap_s` is all time without connection.
        """
        with self._lock:
            ended = self._ended.copy()
            dropped = {f"dropped_{reason}": self._reasons[reason] for reason in _REASONS}
            gap_s = sum(event.gap_s or 0.0 for event in self._events)
        ages = sorted(e.age_s for e in ended if e.age_s is not None)
        latencies = sorted(e.latency_s for e in ended if e.latency_s is not None)
        return {
            "source_id": self.source_id,
            "status": self.status,
            "expected": self.expected_frames,
            "captured": self.captured,
            "detected": self.detected,
            "failed": self.failed,
            **dropped,
            "damaged": self.num_damaged,
            "reconnects": self.reconnects,
            "gap_s": gap_s,
            "age_median_s": _share(ages, 0.5),
            "age_p95_s": _share(ages, 0.95),
            "latency_median_s": _share(latencies, 0.5),
            "latency_p95_s": _share(latencies, 0.95),
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping per frame, in the order they ended; the attributes of `LedgerEntry`."""
        with self._lock:
            ended, still_open = self._ended.copy(), [*self._open.values()]
        for entry in (*ended, *still_open):
            yield {"source_id": self.source_id, **asdict(entry)}

    def __repr__(self) -> str:
        dropped = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items()) or "0"
        again = f", {self.reconnects} reconnects" if self.reconnects else ""
        return (
            f"<FrameLedger {self.source_id!r}: {self.status}, {self.captured} captured, "
            f"{self.detected} detected, {self.failed} failed, dropped {dropped}{again}>"
        )


def _share(ordered: list[float], share: float) -> float | None:
    """The value below which this share of them lies."""
    return ordered[int(share * (len(ordered) - 1))] if ordered else None
