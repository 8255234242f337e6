"""`LiveSource`: opened again after a loss, with visible gaps and no frame made up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from detkit.errors import StreamLostError, VideoOpenError
from detkit.images import RGBImage
from detkit.testing import numbered_image
from detkit.video import Frame, LiveSource, Reconnect, SourceEvent


class Script:
    """What connections give, one list after the other: pictures, or an error instead of it.

    A clock that only waiting and pictures move: each picture takes 0.1 s.
    """

    def __init__(self, *connections: list[RGBImage] | str, finite: bool = False) -> None:
        self.connections = list(connections)
        self.finite = finite
        self.now = 100.0
        self.waits: list[float] = []
        self.num_closed = 0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


class FakeConnection:
    fps: Fraction | None = Fraction(10)
    expected_frames: int | None = None
    num_damaged = 0
    end = "cable pulled"

    def __init__(self, script: Script, images: list[RGBImage]) -> None:
        self._script = script
        self._images = images
        self.is_finite = script.finite
        if script.finite:
            self.expected_frames, self.end = len(images), ""

    def pictures(self) -> Iterator[tuple[RGBImage, float | None]]:
        for number, image in enumerate(self._images):
            self._script.now += 0.1
            yield image, number * 0.1

    def close(self) -> None:
        self._script.num_closed += 1


_PATIENT = Reconnect()


class ScriptedSource(LiveSource):
    def __init__(self, script: Script, reconnect: Reconnect | None = _PATIENT) -> None:
        super().__init__("cam", reconnect=reconnect, clock=script.clock, wait=script.wait)
        self.script = script
        self.events: list[SourceEvent] = []
        self.on_event = self.events.append

    def connect(self) -> FakeConnection:
        if not self.script.connections:
            raise VideoOpenError("cam: no more script")
        images = self.script.connections.pop(0)
        if isinstance(images, str):
            raise VideoOpenError(images)
        return FakeConnection(self.script, images)


def images(*numbers: int, hw: tuple[int, int] = (4, 6)) -> list[RGBImage]:
    return [numbered_image(number, hw) for number in numbers]


def read_until_lost(source: LiveSource) -> list[Frame]:
    frames: list[Frame] = []
    with pytest.raises(StreamLostError, match="cam: lost after"):
        for frame in source:
            frames.append(frame)  # noqa: PERF402  the error comes in the middle
    return frames


def test_a_gap_is_an_event_and_never_a_frame() -> None:
    script = Script(images(0, 1, 2), "cam: refused", images(3, 4))
    source = ScriptedSource(script, Reconnect(max_attempts=2))
    frames = read_until_lost(source)
    assert [int(frame.image[0, 0, 2]) for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3, 4]
    # Two waits, 0.25 and 0.5 s, and the 0.1 s that the first picture takes.
    assert [frame.pts_seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 1.05, 1.15])
    kinds = [event.kind for event in source.events]
    assert kinds[:3] == ["lost", "retry_failed", "reconnected"]
    assert source.events[0].detail == "cable pulled"
    assert source.events[0].frame_index == source.events[2].frame_index == 3
    assert source.events[2].gap_s == pytest.approx(0.85)
    assert script.num_closed == 2
    assert source.status == "truncated"


def test_the_delays_double_up_to_a_bound_and_start_anew_after_a_frame() -> None:
    down = ["cam: down"] * 5
    script = Script(images(0), *down, images(1), *down)
    read_until_lost(ScriptedSource(script, Reconnect(max_attempts=6)))
    assert script.waits == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0] * 2


def test_connections_without_a_frame_count_as_attempts() -> None:
    script = Script(images(0), *[images()] * 50)
    read_until_lost(ScriptedSource(script, Reconnect(max_attempts=4)))
    assert len(script.waits) == 4


def test_what_cannot_be_opened_at_first_is_told_at_once() -> None:
    script = Script("cam: 401")
    with pytest.raises(VideoOpenError, match="401"):
        list(ScriptedSource(script))
    assert script.waits == []


def test_without_reconnecting_the_first_loss_is_the_end() -> None:
    script = Script(images(0, 1), images(2))
    assert len(read_until_lost(ScriptedSource(script, None))) == 2
    assert script.waits == []


def test_a_file_somewhere_else_is_read_once() -> None:
    source = ScriptedSource(Script(images(0, 1), images(2), finite=True))
    assert len(list(source)) == 2
    assert source.status == "complete"
    assert source.expected_frames == 2


def test_a_change_of_size_is_passed_on_and_told() -> None:
    script = Script([*images(0), *images(1, hw=(8, 8))], images(2))
    source = ScriptedSource(script, Reconnect(max_attempts=1))
    shapes = [frame.image.shape for frame in read_until_lost(source)]
    assert shapes == [(4, 6, 3), (8, 8, 3), (4, 6, 3)]
    resized = [event.detail for event in source.events if event.kind == "resized"]
    assert resized == ["6×4 became 8×8", "8×8 became 6×4"]


def test_closing_ends_it_also_while_it_waits_to_reconnect() -> None:
    script = Script(images(0, 1), images(2))
    source = ScriptedSource(script)

    def close_while_waiting(seconds: float) -> bool:
        source.close()
        return True

    script.wait = close_while_waiting  # type: ignore[method-assign]
    source._wait = close_while_waiting
    assert len(list(source)) == 2
    assert source.status == "interrupted"
    assert list(source) == []


def test_leaving_early_closes_the_connection() -> None:
    script = Script(images(0, 1, 2))
    for _ in ScriptedSource(script):
        break
    assert script.num_closed == 1


def test_times_never_go_back() -> None:
    class Backwards(FakeConnection):
        def pictures(self) -> Iterator[tuple[RGBImage, float | None]]:
            for pts in (0.0, 0.5, 0.2, None, 0.6):
                yield np.zeros((4, 6, 3), np.uint8), pts

    script = Script()
    source = ScriptedSource(script, None)
    source.connect = lambda: Backwards(script, [])  # type: ignore[method-assign]
    times = [frame.pts_seconds or 0.0 for frame in read_until_lost(source)]
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
