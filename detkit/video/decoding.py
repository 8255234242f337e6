"""From a container's packets to decoded pictures, and what was wrong on the way.

Owns everything that files and network streams decode alike. Knows PyAV; never where the bytes
come from or who reads the pictures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from detkit.detection.threads import usable_cores

# Containers that hold media themselves. Playlists and concatenation scripts, which make FFmpeg
# open other files or addresses that they name, are left out on purpose. The audio formats are
# here to be told apart from damage.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,h264,hevc,ivf,"
    "mpegvideo,gif,mp3,wav,flac,aac"
)
_MAX_PIXELS = (
    1 << 27
)  # A 16,384 x 8,192 frame, and 400 MB as RGB: damage in a header asks for more.

# A time that lies so far back is another recording's, and not a wrong one.
_RESTART_S = 0.5


def choose_stream(container: Any, *, is_live: bool = False) -> Any | None:
    """The video stream, made ready to decode, or `None` if there is only sound or data.

    Args:
        container: Opened by PyAV.
        is_live: Decode without delay: several frames are then never decoded at once.
    """
    stream = next((s for s in container.streams.video if not _is_cover(s)), None)
    if stream is None:
        return None
    stream.thread_type = "SLICE" if is_live else "AUTO"
    # The other half of the cores is the detector's: decoding a 1280 x 720 frame takes 1.4 core-ms
    # on one thread, and 10 % more on two.
    stream.codec_context.thread_count = max(1, usable_cores() // 2)
    stream.codec_context.options = {"max_pixels": str(_MAX_PIXELS)}
    return stream


def _is_cover(stream: Any) -> bool:
    """Whether this is the picture on a sound file's sleeve."""
    import av

    attached = getattr(getattr(av.stream, "Disposition", None), "attached_pic", None)
    return attached is not None and bool(stream.disposition & attached)


class Decoder:
    """The decoded pictures of one pass, and what was wrong on the way.

    Args:
        container: Opened by PyAV.
        stream: One of its.
        read_timeout_s: After so long without a packet, the time-out that the container has, there
            is none to come. FFmpeg may still give what it had kept back, and then waits again.
        on_packet: Called for every packet.

    Attributes:
        num_damaged: Packets or pictures that did not decode cleanly.
        is_sound_after_damage: Whether more packets came after the damage.
        end: What ended the pass, if it was an error.
    """

    def __init__(
        self,
        container: Any,
        stream: Any,
        *,
        read_timeout_s: float = math.inf,
        on_packet: Callable[[], None] = lambda: None,
    ) -> None:
        self.num_damaged = 0
        self.is_sound_after_damage = False
        self.end: Exception | None = None
        self._container = container
        self._stream = stream
        self._read_timeout_s = read_timeout_s
        self._on_packet = on_packet

    def __iter__(self) -> Iterator[Any]:
        for packet in self._packets():
            yield from self._decoded(packet)
        if self.end is not None:  # What the decoder still holds was sound.
            yield from self._decoded(None)

    def _decoded(self, packet: Any) -> Iterator[Any]:
        try:
            pictures = self._stream.codec_context.decode(packet)
        except _damage():
            self.num_damaged += 1
            return
        for picture in pictures:
            # Shown all the same: the decoder has patched it from its neighbours.
            self.num_damaged += bool(picture.is_corrupt)
            picture.time_base = picture.time_base or self._stream.time_base
            yield picture

    def _packets(self) -> Iterator[Any]:
        asked_at = time.monotonic()
        try:
            for packet in self._container.demux(self._stream):
                self._on_packet()
                is_last = time.monotonic() - asked_at >= self._read_timeout_s
                # A file that was cut ends with a damaged packet and the empty one that flushes.
                if packet.is_corrupt:
                    self.num_damaged += 1
                elif self.num_damaged and packet.size:
                    self.is_sound_after_damage = True
                yield packet
                if is_last:
                    self.end = TimeoutError("no more data within the time-out")
                    return
                asked_at = time.monotonic()
        except _damage() as error:
            # Nothing after this point can be found; trying again would fail again.
            self.num_damaged += 1
            self.end = error


def _damage() -> tuple[type[Exception], ...]:
    import av

    return (av.FFmpegError,)


def reason(error: BaseException) -> str:
    """What FFmpeg says, less the name of the source: it may hold a password."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:120]


def duration_seconds(container: Any, stream: Any) -> float | None:
    """As the container announces."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def pts_seconds(picture: Any, start: int, fps: Fraction | None, index: int) -> float | None:
    """Time of a picture after `start`, which is in units of its time base."""
    if picture.pts is not None and picture.time_base is not None:
        return float((picture.pts - start) * picture.time_base)
    return None if fps is None else float(index / fps)


class SteadyClock:
    """Times that never go back, of recordings put one after the other and of broken clocks.

    Where a time lies more than half a second before the last, another recording begins: its first
    frame comes one frame after the last. A smaller step back is a wrong time.

    Attributes:
        last_s: The latest time, or `None` where there was none.
    """

    def __init__(self, fps: Fraction | None) -> None:
        self._step_s = float(1 / fps) if fps else 1 / 25
        self._offset_s = 0.0
        self.last_s: float | None = None

    def steady(self, seconds: float | None) -> float | None:
        """The time of the next frame, from what its file says."""
        if seconds is None:
            return None
        seconds += self._offset_s
        if self.last_s is not None:
            if seconds < self.last_s - _RESTART_S:
                self._offset_s += self.last_s + self._step_s - seconds
                seconds = self.last_s + self._step_s
            seconds = max(seconds, self.last_s)
        self.last_s = seconds
        return seconds
