"""Runs over live and failing sources: the declared policy, and an end within a second."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from stopwatch import Stopwatch
from stream_server import HTTP_OK, SECRET, USER, Server, Visit, transport_stream
from told_camera import Timed, ToldCamera

from detkit import AsyncDetector
from detkit.errors import StreamLostError
from detkit.images import RGBImage
from detkit.pipeline import VideoRun, annotate_video, detect_video, detect_videos
from detkit.testing import FakeDetector, numbered_image, result_number
from detkit.video import Frame, StreamSource, VideoSource

BOUND_S = 1.0


class Camera(ToldCamera):
    """Pictures until told to stand still; a read that is blocked until the test is over, whatever
    its reader does."""

    def __init__(self, num: int, released: threading.Event) -> None:
        super().__init__(lambda _: self._give())
        self.num, self.released = num, released
        self.blocked = threading.Event()

    def _give(self) -> Iterator[Timed]:
        for number in range(self.num):
            yield numbered_image(number), number / 30
        self.blocked.set()
        self.released.wait(30)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def consume(run: VideoRun, style: str, each: Callable[[Frame], None]) -> None:
    """Read a run to its end with `for` or with `async for`."""
    if style == "for":
        for frame, _ in run:
            each(frame)
        return

    async def read() -> None:
        async for frame, _ in run:
            each(frame)

    asyncio.run(read())


STYLES = pytest.mark.parametrize("style", ["for", "async for"])


def test_the_policy_follows_from_the_kind_of_source_and_is_an_argument(
    released: threading.Event,
) -> None:
    with AsyncDetector(FakeDetector()) as detector:
        assert detect_video(detector, [numbered_image(0)]).policy == "every"
        assert detect_video(detector, "rtsp://10.0.0.7/door").policy == "latest"
        assert detect_video(detector, "rtsp://10.0.0.7/door", policy="every").policy == "every"
        assert detect_video(detector, Camera(1, released)).policy == "latest"
        assert detect_video(detector, [numbered_image(0)], policy="latest").policy == "latest"
        with pytest.raises(ValueError, match='policy must be "every" or "latest"'):
            detect_video(detector, [], policy="newest")  # type: ignore[arg-type]


@STYLES
def test_terminate_while_the_source_is_blocked(style: str, released: threading.Event) -> None:
    camera = Camera(3, released)
    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, camera)
        watches: list[Stopwatch] = []

        def end() -> None:
            camera.blocked.wait(10)
            watches.append(Stopwatch())
            run.terminate()
            run.terminate()

        thread = threading.Thread(target=end)
        thread.start()
        consume(run, style, lambda frame: None)
        thread.join()
        # Reading thread left behind, loop ended: both within the bound.
        assert watches[0].wall_s < BOUND_S + 0.5
    assert run.ledger.status == "interrupted"


@STYLES
def test_a_result_does_not_wait_for_the_next_frame(style: str, released: threading.Event) -> None:
    camera = Camera(1, released)
    seen = []
    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, camera)

        def each(frame: Frame) -> None:
            # The camera gives no second frame before the test is over.
            seen.append(frame.frame_index)
            run.terminate()

        consume(run, style, each)
    assert seen == [0]


@STYLES
@pytest.mark.parametrize("kind", ["file", "live"])
def test_a_detector_that_raises_in_the_middle(
    style: str, kind: str, tmp_path: Path, released: threading.Event
) -> None:
    source: object = Camera(5, released)
    if kind == "file":
        source = [numbered_image(n) for n in range(50)]
    with AsyncDetector(FakeDetector(fail_on={4}), max_workers=1) as detector:
        # Every frame, so that the fourth one is certain to be detected.
        run = detect_video(detector, source, policy="every")
        watch = Stopwatch()
        with pytest.raises(ValueError, match="told to fail"):
            consume(run, style, lambda frame: None)
        assert watch.elapsed_s < BOUND_S + 0.5
    assert run.ledger.status == "interrupted"


@STYLES
@pytest.mark.parametrize("kind", ["file", "live"])
def test_a_consumer_that_raises(style: str, kind: str, released: threading.Event) -> None:
    source: object = Camera(5, released)
    if kind == "file":
        source = [numbered_image(n) for n in range(50)]

    def fail(frame: Frame) -> None:
        raise ZeroDivisionError("mine")

    with AsyncDetector(FakeDetector()) as detector:
        run = detect_video(detector, source)
        watch = Stopwatch()
        with pytest.raises(ZeroDivisionError, match="mine"):
            consume(run, style, fail)
        assert watch.elapsed_s < BOUND_S + 0.5


def test_a_consumer_that_stops_reading_stops_the_reader() -> None:
    produced = []

    def endless() -> Iterator[RGBImage]:
        while True:
            produced.append(1)
            yield numbered_image(len(produced))

    async def stop() -> int:
        async with AsyncDetector(FakeDetector(), max_workers=2) as detector:
            pairs = aiter(detect_video(detector, endless(), max_in_flight=3))
            await anext(pairs)
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(1000)))
            num = len(produced)
            await pairs.aclose()
            return num

    # Three in the window, four ahead, one in the reader's hand, one or two handed out.
    assert asyncio.run(stop()) <= 3 + 4 + 1 + 2


def test_a_stream_from_end_to_end(tmp_path: Path) -> None:
    data = transport_stream(tmp_path)

    def drops_once(visit: Visit) -> None:
        visit.request()
        if visit.number > 1:
            visit.stall()
        visit.send(HTTP_OK + data)

    with Server(drops_once) as server, AsyncDetector(FakeDetector(), max_workers=2) as detector:
        run = detect_video(detector, server.address(user=USER), policy="every")
        seen = []
        for frame, result in run:
            seen.append(frame.frame_index)
            assert result.metadata["source"] == run.source.source_id
            if len(seen) == 60:
                run.terminate()
        assert seen[:60] == list(range(60))
    ledger = run.ledger
    assert ledger.reconnects == 1
    assert ledger.summary()["gap_s"] > 0
    assert ledger.captured == ledger.detected + sum(ledger.dropped.values())
    assert SECRET not in repr(ledger) + repr(list(ledger.rows())) + repr(ledger.events)


def test_a_lost_stream_ends_with_its_own_error_and_says_so_in_the_ledger(tmp_path: Path) -> None:
    data = transport_stream(tmp_path)

    def once(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + data)

    with Server(once) as server, AsyncDetector(FakeDetector()) as detector:
        source = StreamSource(server.address(user=USER), reconnect=None)
        run = detect_video(detector, source, policy="every")
        seen: list[int] = []
        with pytest.raises(StreamLostError, match="lost after 30 frames"):
            consume(run, "async for", lambda frame: seen.append(frame.frame_index))
    assert seen == list(range(30))
    assert [event.kind for event in run.ledger.events] == ["lost", "failed"]
    assert run.ledger.status == "truncated"


def test_a_stream_becomes_an_annotated_file(tmp_path: Path) -> None:
    data = transport_stream(tmp_path)

    def once(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK + data)

    with Server(once) as server, AsyncDetector(FakeDetector()) as detector:
        source = StreamSource(server.address(), reconnect=None)
        with pytest.raises(StreamLostError):
            asyncio.run(annotate_video(detector, source, tmp_path / "out.mp4", policy="every"))
    times = [frame.pts_seconds for frame in VideoSource(tmp_path / "out.mp4.partial")]
    assert times == pytest.approx([n / 25 for n in range(len(times))], abs=0.001)
    assert len(times) >= 29


# -- several at once --------------------------------------------------------------------------


def numbered(first: int, num: int) -> Iterator[RGBImage]:
    return (numbered_image(first + n) for n in range(num))


@pytest.mark.parametrize("style", ["for", "async for"])
def test_each_source_has_its_own_order_and_ledger(style: str) -> None:
    sources = {"a": numbered(0, 30), "b": numbered(1000, 7), "empty": []}
    with AsyncDetector(FakeDetector(fail_on={1003}), max_workers=2) as detector:
        run = detect_videos(detector, sources, on_error="yield")
        if style == "for":
            outcomes = list(run)
        else:

            async def read() -> list[object]:
                return [item async for item in run]

            outcomes = asyncio.run(read())
    found = {name: [f.frame_index for n, f, _ in outcomes if n == name] for name in sources}
    assert found == {"a": list(range(30)), "b": list(range(7)), "empty": []}
    assert [result_number(o) for n, _, o in outcomes if n == "a"] == list(range(30))
    counts = {name: (led.captured, led.detected, led.failed) for name, led in run.ledgers.items()}
    assert counts == {"a": (30, 30, 0), "b": (7, 6, 1), "empty": (0, 0, 0)}
    assert {ledger.status for ledger in run.ledgers.values()} == {"complete"}
    assert "'a'" not in repr(run)
    assert "30 captured" in repr(run)


def test_one_that_fails_ends_alone_and_its_error_is_raised_in_the_end() -> None:
    def breaks() -> Iterator[RGBImage]:
        yield numbered_image(500)
        raise OSError("cable pulled")

    seen = []
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:
        run = detect_videos(detector, [numbered(0, 20), breaks(), numbered(100, 20)])
        with pytest.raises(OSError, match="cable pulled"):
            for name, frame, _ in run:
                seen.append((name, frame.frame_index))
    assert [index for name, index in seen if name == "0"] == list(range(20))
    assert [index for name, index in seen if name == "1"] == [0]
    assert [index for name, index in seen if name == "2"] == list(range(20))
    assert list(run.errors) == ["1"]
    (event,) = run.ledgers["1"].events
    assert (event.kind, event.detail) == ("failed", "OSError: cable pulled")


def test_one_that_waits_holds_up_no_other(released: threading.Event) -> None:
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:
        run = detect_videos(detector, {"cam": Camera(1, released), "file": list(numbered(0, 40))})
        seen = []
        for name, frame, _ in run:
            seen.append((name, frame.frame_index))
            if len(seen) == 41:
                run.terminate()
    assert sorted(seen) == [("cam", 0), *(("file", n) for n in range(40))]
    assert run.ledgers["file"].status == "complete"
    assert run.ledgers["cam"].status == "interrupted"


def test_leaving_ends_all() -> None:
    closed = []

    async def endless(name: str) -> AsyncIterator[RGBImage]:
        try:
            while True:
                yield numbered_image(1)
        finally:
            closed.append(name)

    async def leave() -> None:
        async with AsyncDetector(FakeDetector()) as detector:
            outcomes = aiter(detect_videos(detector, [endless("a"), endless("b")]))
            names = set()
            async for name, _, _ in outcomes:
                names.add(name)
                if len(names) == 2:
                    break
            await outcomes.aclose()

    asyncio.run(asyncio.wait_for(leave(), 20))
    assert sorted(closed) == ["a", "b"]
    assert [t for t in threading.enumerate() if t.name == "detkit-read-ahead"] == []
