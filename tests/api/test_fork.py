"""T18: a forked child says at once that it cannot detect, and harms nobody; spawn works."""

from __future__ import annotations

import asyncio
import atexit
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from plain_detector import PlainDetector, detect_in_child
from stopwatch import Stopwatch

from detkit import AsyncDetector, DetectionResult
from detkit.errors import DetectorClosed, ForkedDetectorError
from detkit.images import RGBImage
from detkit.testing import FakeDetector, image_number, numbered_image, result_number

REFUSAL_BOUND_S = 0.1
EXIT_BOUND_S = 2.0

pytestmark = pytest.mark.usefixtures("scheduling")


@pytest.fixture(autouse=True)
def forking_is_meant() -> Iterator[None]:
    with warnings.catch_warnings():
        # From Python 3.12 on a fork of a process with threads warns.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield


def in_forked_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked child that must end in time and without an error."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            os.write(write_end, traceback.format_exc().encode()[-8000:])
        finally:
            os._exit(code)
    os.close(write_end)
    deadline = time.monotonic() + EXIT_BOUND_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        threading.Event().wait(0.002)
    if ended[0] == 0:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(read_end, errors="replace") as pipe:
        complaint = pipe.read()
    assert ended[0] == child, f"the child hung {complaint}"
    assert os.waitstatus_to_exitcode(ended[1]) == 0, complaint


@contextmanager
def busy(detector: AsyncDetector) -> Iterator[list[int]]:
    """Threads and a loop that keep the detector busy; what they got is checked at the end."""
    stop = threading.Event()
    counts = [0, 0, 0]
    errors: list[BaseException] = []

    def ask(index: int) -> None:
        number = index * 1_000_000
        while not stop.is_set():
            number += 1
            assert result_number(detector.detect(numbered_image(number))) == number
            counts[index] += 1

    async def ask_on_a_loop(index: int) -> None:
        number = index * 1_000_000
        while not stop.is_set():
            number += 1
            assert result_number(await detector.detect_async(numbered_image(number))) == number
            counts[index] += 1

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=guarded, args=(lambda: ask(0),)),
        threading.Thread(target=guarded, args=(lambda: ask(1),)),
        threading.Thread(target=guarded, args=(lambda: asyncio.run(ask_on_a_loop(2)),)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
    assert not errors
    assert min(counts) > 0


def assert_refused(call: Callable[[], object]) -> None:
    stopwatch = Stopwatch()
    with pytest.raises(ForkedDetectorError, match="parent process"):
        call()
    assert stopwatch.elapsed_s <= REFUSAL_BOUND_S


def use_everything(detector: AsyncDetector) -> None:
    """What a child may do with a parent's detector: refused or harmless, never waiting."""
    image = numbered_image(1)

    async def awaited() -> None:
        await detector.detect_async(image)

    async def awaited_batch() -> None:
        await detector.detect_batch_async([image])

    for call in (
        lambda: detector.detect(image),
        lambda: detector.detect_batch([image]),
        lambda: detector.submit(image),
        lambda: detector.map([image]),
        lambda: detector.stream([image]),
        lambda: asyncio.run(awaited()),
        lambda: asyncio.run(awaited_batch()),
    ):
        assert_refused(call)
    stopwatch = Stopwatch()
    detector.statistics()
    detector.get_stats()
    repr(detector)
    detector.max_workers = 1
    detector.shutdown()
    asyncio.run(detector.aclose())
    with detector:
        pass
    assert_refused(lambda: detector.detect(image))
    assert stopwatch.elapsed_s <= EXIT_BOUND_S / 2


def test_t18_a_child_forked_while_busy_is_refused_and_ends(
    repetitions: Callable[[int, int], int],
) -> None:
    with AsyncDetector(FakeDetector(), max_workers=4, hang_timeout_s=30) as detector:
        with busy(detector) as counts:
            for _ in range(repetitions(20, 200)):
                in_forked_child(lambda: use_everything(detector))
            before = list(counts)
            while min(now - then for now, then in zip(counts, before, strict=True)) < 3:
                threading.Event().wait(0.001)
        stats = detector.statistics()
        assert stats.succeeded == stats.submitted == sum(counts)
        assert (stats.worker_deaths, stats.undeliverable) == (0, 0)


def test_t18_a_child_that_forks_while_a_lock_is_held_does_not_hang() -> None:
    """The worst moment for a fork, brought about on purpose."""
    with AsyncDetector(FakeDetector()) as detector:
        detector.detect(numbered_image(1))
        is_held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            with detector._engine._lock:
                is_held.set()
                may_go.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        is_held.wait(5)
        try:
            in_forked_child(lambda: use_everything(detector))
        finally:
            may_go.set()
            holder.join()


def test_t18_a_child_makes_a_detector_of_its_own() -> None:
    with AsyncDetector(FakeDetector(), max_workers=2) as parents:
        parents.detect(numbered_image(1))

        def work() -> None:
            with AsyncDetector(FakeDetector(), max_workers=2) as own:
                images = [numbered_image(n) for n in range(50)]
                assert [result_number(r) for r in own.detect_batch(images)] == list(range(50))

        with busy(parents):
            for _ in range(10):
                in_forked_child(work)


def test_t18_a_child_uses_the_same_model_in_a_detector_of_its_own() -> None:
    """Also when a worker of the parent was inside the model at the fork."""
    may_go = threading.Event()
    inside = threading.Event()

    class Slow(PlainDetector):
        def detect(self, image: RGBImage) -> DetectionResult:
            if image_number(image) == 1:
                inside.set()
                may_go.wait(10)
            return super().detect(image)

    model = Slow()
    with AsyncDetector(model) as parents:
        future = parents.submit(numbered_image(1))
        inside.wait(5)

        def work() -> None:
            with AsyncDetector(model) as own:
                assert result_number(own.detect(numbered_image(2), timeout_s=1)) == 2

        try:
            in_forked_child(work)
        finally:
            may_go.set()
        assert result_number(future.result(5)) == 1


def test_t18_a_child_forgets_the_parents_detector_without_a_warning() -> None:
    detector = AsyncDetector(FakeDetector())
    detector.detect(numbered_image(1))

    def work() -> None:
        nonlocal detector
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del detector
            gc.collect()
        assert not caught, [str(w.message) for w in caught]

    in_forked_child(work)
    with pytest.warns(ResourceWarning, match="never shut down"):  # as it does in the parent
        del detector
        gc.collect()


def test_t18_a_child_ends_its_interpreter_in_the_usual_way(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`sys.exit` in a child of multiprocessing runs handlers that must not wait for a thread."""
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:
        # A source that never yields: the reader's thread exists in the parent alone.
        endless = threading.Event()

        def source() -> Iterator[RGBImage]:
            yield numbered_image(1)
            endless.wait(20)

        async def open_stream() -> None:
            stream = detector.stream(source())
            assert result_number(await stream.__anext__()) == 1  # type: ignore[arg-type]
            with busy(detector):
                for _ in range(5):
                    await asyncio.to_thread(end_a_child)
            endless.set()
            await stream.aclose()  # type: ignore[attr-defined]

        def end_a_child() -> None:
            in_forked_child(atexit._run_exitfuncs)

        asyncio.run(open_stream())
    assert capfd.readouterr().err == ""


# -- spawn ----------------------------------------------------------------------------------------


def test_t18_a_pickled_detector_keeps_every_setting_and_works() -> None:
    settings = {
        "batch_timeout_s": 0.25,
        "max_queue_size": 7,
        "overflow": "drop_oldest",
        "max_workers": 3,
        "default_batch_size": 5,
    }
    with AsyncDetector(PlainDetector(), hang_timeout_s=9.0, **settings) as detector:  # type: ignore[arg-type]
        detector.detect(numbered_image(1))
        with pickle.loads(pickle.dumps(detector)) as copy:
            stats = copy.get_stats()
            assert {name: stats[name] for name in settings} == settings
            assert copy._hang_timeout_s == 9.0
            assert (stats["submitted"], stats["shutdown"]) == (0, False)
            assert result_number(copy.detect(numbered_image(3))) == 3


def test_t18_a_spawned_child_detects() -> None:
    detector = AsyncDetector(PlainDetector(), max_workers=2)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(detect_in_child, (detector, [5, 6, 7])) == [5, 6, 7]
        pool.close()
        pool.join()
    assert result_number(detector.detect(numbered_image(8))) == 8
    detector.shutdown()
    with pytest.raises(DetectorClosed):
        detector.detect(numbered_image(8))
