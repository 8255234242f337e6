"""RTSP against a server that plays, stalls, drops and sends garbage in the middle."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from stopwatch import Stopwatch
from stream_server import (
    SECRET,
    USER,
    Handler,
    Server,
    Visit,
    assert_nothing_secret,
    garbage,
    numbers,
    read,
    rtp_packets,
    rtsp_session,
    transport_stream,
)

from detkit import AsyncDetector
from detkit.errors import StreamLostError
from detkit.pipeline import VideoRun, VideosRun, detect_video, detect_videos
from detkit.testing import FakeDetector
from detkit.video import Frame, Reconnect, SourceEvent, StreamSource

pytestmark = pytest.mark.usefixtures("nothing_secret_is_printed")

# The time-out of 2 s, and what a busy machine adds.
BOUND_S = 3.0


@pytest.fixture
def packets(tmp_path: Path) -> list[bytes]:
    return rtp_packets(transport_stream(tmp_path))


def read_until_lost(
    serve: Handler,
) -> tuple[StreamSource, list[Frame], list[SourceEvent], StreamLostError]:
    """Read to the end of what one visit gives: a lost stream, told within the time-out."""
    with Server(serve) as server:
        source = StreamSource(server.address("rtsp", USER), reconnect=None)
        watch = Stopwatch()
        frames, events, error = read(source)
        assert watch.elapsed_s < BOUND_S
    assert isinstance(error, StreamLostError)
    return source, frames, events, error


def test_it_plays(packets: list[bytes]) -> None:
    _, frames, _, _ = read_until_lost(lambda visit: rtsp_session(visit, packets))
    assert numbers(frames) == list(range(len(frames)))
    assert len(frames) >= 28
    assert frames[10].pts_seconds == pytest.approx(0.4, abs=0.001)


def test_a_stall_in_the_middle_is_lost_within_its_time_out(packets: list[bytes]) -> None:
    def stalls(visit: Visit) -> None:
        rtsp_session(visit, packets[: len(packets) // 2])
        visit.stall()

    source, frames, events, error = read_until_lost(stalls)
    assert [event.kind for event in events] == ["lost"]
    assert numbers(frames) == list(range(len(frames)))
    assert 5 <= len(frames) < 30
    assert_nothing_secret(error, source)


def test_one_that_drops_is_opened_again_and_nothing_is_made_up(packets: list[bytes]) -> None:
    def drops(visit: Visit) -> None:
        if visit.number != 1:  # the second time there is not even an answer
            rtsp_session(visit, packets)

    with Server(drops) as server:
        reconnect = Reconnect(first_delay_s=0.01, max_attempts=3)
        source = StreamSource(server.address("rtsp", USER), reconnect=reconnect)
        frames, events, _ = read(source, 70)
    assert [event.kind for event in events][:3] == ["lost", "retry_failed", "reconnected"]
    assert [frame.frame_index for frame in frames] == list(range(70))
    times = [frame.pts_seconds or 0.0 for frame in frames]
    assert times == sorted(set(times))
    found = numbers(frames)
    restarts = [at for at in range(1, 70) if found[at] < found[at - 1]]
    assert len(restarts) == sum(event.kind == "reconnected" for event in events) == 2
    assert SECRET not in repr(events)


def test_garbage_in_the_middle_is_no_frame(packets: list[bytes]) -> None:
    half = len(packets) // 2

    def breaks(visit: Visit) -> None:
        rtsp_session(visit, [*packets[:half], garbage(1316), *packets[half:]])
        visit.send(garbage(50_000))

    _, frames, _, _ = read_until_lost(breaks)
    found = numbers(frames)
    assert found == sorted(set(found))
    assert set(found) <= set(range(30))


# -- terminate, while the network says nothing ------------------------------------------------


@pytest.mark.parametrize("style", ["for", "async for", "several"])
@pytest.mark.parametrize("where", ["http, opening", "rtsp, opening", "rtsp, reading"])
def test_terminate_while_the_network_says_nothing(
    style: str, where: str, packets: list[bytes]
) -> None:
    """The time-outs are ten seconds: nothing but `terminate` ends it."""
    is_silent = threading.Event()

    def falls_silent(visit: Visit) -> None:
        if where == "rtsp, reading":
            rtsp_session(visit, packets[: len(packets) // 2])
        else:
            visit.request()
        is_silent.set()
        visit.stall()

    with Server(falls_silent) as server, AsyncDetector(FakeDetector()) as detector:
        source = StreamSource(server.address(where[:4], USER), open_timeout_s=10, read_timeout_s=10)
        run: VideoRun | VideosRun = detect_video(detector, source)
        if style == "several":
            run = detect_videos(detector, {"door": source})
        watches: list[Stopwatch] = []

        def end() -> None:
            assert is_silent.wait(20)
            watches.append(Stopwatch())
            run.terminate()

        async def read_all() -> None:
            async for _ in run:
                pass

        thread = threading.Thread(target=end)
        thread.start()
        if style == "for":
            list(run)
        else:
            asyncio.run(read_all())
        assert watches[0].wall_s < 1.0
        thread.join()
