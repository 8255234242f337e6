"""`StreamSource` against a server that misbehaves: bounded times, typed errors, no secret shown."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from stopwatch import Stopwatch
from stream_server import (
    HTTP_OK,
    SECRET,
    USER,
    Handler,
    Server,
    Visit,
    assert_nothing_secret,
    free_port,
    garbage,
    multipart_jpeg,
    numbers,
    read,
    transport_stream,
)
from video_clips import write_video

from detkit.errors import StreamLostError, VideoOpenError
from detkit.video import Reconnect, StreamSource

pytestmark = pytest.mark.usefixtures("nothing_secret_is_printed")

# The time-out of 2 s, and what a busy machine adds.
BOUND_S = 2.5


@pytest.fixture
def ts(tmp_path: Path) -> bytes:
    return transport_stream(tmp_path)


def silent(visit: Visit) -> None:
    visit.request()
    visit.stall()


def talks_garbage(visit: Visit) -> None:
    visit.request()
    visit.send(garbage())


def hangs_up(visit: Visit) -> None:
    visit.request()


def unauthorized(visit: Visit) -> None:
    while request := visit.request():
        if " RTSP/" in request:
            challenge = 'WWW-Authenticate: Basic realm="door"'
            visit.reply_rtsp(request, "401 Unauthorized", challenge)
        else:
            visit.send(
                b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="door"\r\n'
                b"Content-Length: 0\r\n\r\n"
            )


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (silent, "no answer in time"),
        (talks_garbage, "cannot be opened"),
        (hangs_up, "cannot be opened"),
        (unauthorized, "401 Unauthorized: the user name or password is wrong"),
    ],
)
def test_what_cannot_be_opened_is_a_typed_error_in_time(
    scheme: str, handler: Handler, said: str
) -> None:
    with Server(handler) as server:
        source = StreamSource(server.address(scheme, USER))
        watch = Stopwatch()
        frames, events, error = read(source)
        assert watch.elapsed_s < BOUND_S
    assert frames == []
    assert events == []
    assert isinstance(error, VideoOpenError)
    assert said in str(error)
    assert_nothing_secret(error, source)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_refusing_host(scheme: str) -> None:
    source = StreamSource(f"{scheme}://{USER}@127.0.0.1:{free_port()}/x?token={SECRET}")
    _, _, error = read(source)
    assert isinstance(error, VideoOpenError)
    assert "Connection refused" in str(error)
    assert_nothing_secret(error, source)


def test_a_stalling_stream_is_lost_within_its_time_out(ts: bytes) -> None:
    def stalls(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts[: len(ts) // 376 * 188])
        visit.stall()

    with Server(stalls) as server:
        watch = Stopwatch()
        frames, events, error = read(StreamSource(server.address(), reconnect=None))
        assert watch.elapsed_s < BOUND_S + 0.5
    assert isinstance(error, StreamLostError)
    assert "no more data within the time-out" in str(error)
    assert [event.kind for event in events] == ["lost"]
    assert numbers(frames) == list(range(len(frames)))
    assert 10 <= len(frames) < 30


def test_a_dropping_stream_is_opened_again_and_nothing_is_made_up(ts: bytes) -> None:
    def drops(visit: Visit) -> None:
        visit.request()
        if visit.number == 2:
            return  # not even an answer
        visit.send(HTTP_OK + ts)

    with Server(drops) as server:
        source = StreamSource(
            server.address(user=USER), reconnect=Reconnect(first_delay_s=0.01, max_attempts=3)
        )
        frames, events, _ = read(source, 100)
    assert numbers(frames) == [*range(30), *range(30), *range(30), *range(10)]
    assert [frame.frame_index for frame in frames] == list(range(100))
    times = [frame.pts_seconds or 0.0 for frame in frames]
    assert times == sorted(times)
    assert [event.kind for event in events] == [
        "lost", "reconnected", "lost", "retry_failed", "reconnected", "lost", "reconnected",
    ]  # fmt: skip
    assert all(event.gap_s is not None for event in events if event.kind == "reconnected")
    assert SECRET not in repr(events)


def test_garbage_in_the_middle_is_no_frame(ts: bytes) -> None:
    def breaks(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts[: 188 * 20] + garbage(18_800) + ts[188 * 20 :])

    with Server(breaks) as server:
        source = StreamSource(server.address(), reconnect=None)
        frames, _, _ = read(source)
    assert len(frames) <= 30
    found = numbers(frames)
    assert found == sorted(found)
    assert source.num_damaged > 0


def test_a_change_of_size_in_the_middle(tmp_path: Path, ts: bytes) -> None:
    larger = transport_stream(tmp_path, 10, (96, 64))

    def changes(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + ts + larger)

    with Server(changes) as server:
        frames, events, _ = read(StreamSource(server.address(), reconnect=None))
    shapes = [frame.image.shape[:2] for frame in frames]
    assert shapes.count((48, 64)) >= 29
    assert shapes.count((64, 96)) >= 9
    assert [event.kind for event in events] == ["resized", "lost"]


def test_a_camera_that_sends_jpeg_pictures() -> None:
    noise = np.random.default_rng(0).integers(0, 8, (96, 128, 3), dtype=np.uint8)
    pictures = [cv2.imencode(".jpg", noise + 8 * n)[1].tobytes() for n in range(12)]

    def films(visit: Visit) -> None:
        visit.request()
        for part in multipart_jpeg(pictures):
            visit.send(part)

    with Server(films) as server:
        frames, _, _ = read(StreamSource(server.address(), reconnect=None))
    assert [round(float(f.image.mean()) - 3.5) // 8 for f in frames] == list(range(12))
    # Such a stream has no times of its own: these are the times of arrival.
    assert frames[-1].pts_seconds is not None
    assert frames[-1].pts_seconds < BOUND_S


def test_a_file_at_an_address_is_read_once_and_whole(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", 20, options={"movflags": "faststart"}).read_bytes()

    def serves(visit: Visit) -> None:
        visit.request()
        visit.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(clip)}\r\n\r\n".encode() + clip)

    with Server(serves) as server:
        source = StreamSource(server.address())
        frames, events, error = read(source)
    assert error is None
    assert numbers(frames) == list(range(20))
    assert (source.status, source.expected_frames, events) == ("complete", 20, [])


def test_a_file_at_an_address_that_breaks_off_is_truncated(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", 60, options={"movflags": "faststart"}).read_bytes()

    def breaks_off(visit: Visit) -> None:
        visit.request()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(clip)}\r\n\r\n".encode()
        visit.send(head + clip[: len(clip) * 3 // 4])

    with Server(breaks_off) as server:
        source = StreamSource(server.address())
        frames, _, error = read(source)
    assert error is None
    assert source.status == "truncated"
    assert 0 < len(frames) < 60
