"""T12 and T13: shutdown in every state, against every rival, and what draining promises."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import count

import pytest
from stopwatch import Stopwatch

from detkit import AsyncDetector, DetectionResult, DetectorClosed
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

MODES = ("drain", "cancel")
STATES = ("idle", "queued", "in_batch", "loading", "oom_retrying")
RIVALS = ("second_close", "from_callback", "from_worker", "from_other_loop", "during_submit")
SHUTDOWN_BOUND_S = 1.0
REFUSAL_BOUND_S = 0.05


@pytest.fixture(autouse=True)
def adversarial_scheduling() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class LoadingDetector(FakeDetector):
    """Its second worker stops at the gate "loading" while it makes its replica."""

    def replicate(self) -> FakeDetector | None:
        self.gates.at("loading").pass_through()
        return super().replicate()


class Scene:
    """One detector brought into one state, with everything that was handed in on the way."""

    def __init__(self, state: str, mode: str, seed: int) -> None:
        self.mode = mode
        self.random = random.Random(f"{state} {mode} {seed}")
        self.gates = Gates()
        self.accepted: dict[int, Future[DetectionResult]] = {}
        self.num_refused = 0
        self.close_from_detector = threading.Event()
        self._number = count()
        self._plain = FakeDetector()
        kind = LoadingDetector if state == "loading" else FakeDetector
        self.fake = kind(gates=self.gates, behaviour=self._behave, can_replicate=state != "idle")
        self.max_fitting = 2 if state == "oom_retrying" else sys.maxsize
        self.detector = AsyncDetector(self.fake, max_workers=2, default_batch_size=4)
        getattr(self, f"_make_{state}")()

    def _behave(self, images: Sequence[RGBImage]) -> list[DetectionResult]:
        if len(images) > self.max_fitting:
            raise MemoryError(f"{len(images)} images do not fit")
        if self.max_fitting < sys.maxsize:
            self.gates.at("retrying").pass_through()
        if self.close_from_detector.is_set():
            self.close()
        return self._plain.detect_batch(images)

    def _make_idle(self) -> None:
        self.submit().result(5)

    def _make_queued(self) -> None:
        self._make_in_batch()
        for _ in range(9):
            self.submit()

    def _make_in_batch(self) -> None:
        self.gates.at("in_detector").close()
        for arrivals in (1, 2):
            self.submit()
            self.gates.at("in_detector").wait_for_arrivals(arrivals)

    def _make_loading(self) -> None:
        self.gates.at("in_detector").close()
        self.gates.at("loading").close()
        self.submit()
        self.gates.at("in_detector").wait_for_arrivals(1)
        for _ in range(3):
            self.submit()
        self.gates.at("loading").wait_for_arrivals(1)

    def _make_oom_retrying(self) -> None:
        self._make_queued()
        self.gates.at("retrying").close()
        self.gates.at("in_detector").open()
        self.gates.at("retrying").wait_for_arrivals(1)

    def submit(self) -> Future[DetectionResult]:
        number = next(self._number)
        future = self.detector.submit(numbered_image(number))
        self.accepted[number] = future
        return future

    def submit_until_refused(self) -> None:
        for _ in range(200):
            try:
                self.submit()
            except DetectorClosed:
                self.num_refused += 1
                return

    def close(self) -> None:
        self.detector.shutdown(cancel_pending=self.mode == "cancel")

    def close_on_a_loop(self) -> None:
        asyncio.run(self.detector.aclose(cancel_pending=self.mode == "cancel"))

    def hesitate(self) -> None:
        """Give way a random number of times: the interleaving."""
        for _ in range(self.random.choice((0, 0, 1, 3, 10, 30))):
            time.sleep(0)

    def rival(self, name: str) -> Callable[[], None]:
        if name == "second_close":
            return self.close
        if name == "from_other_loop":
            return self.close_on_a_loop
        if name == "during_submit":
            return self.submit_until_refused
        with contextlib.suppress(DetectorClosed):
            if name == "from_worker":
                self.close_from_detector.set()
            last = self.submit()
            if name == "from_callback":
                for future in (last, *self.accepted.values()):
                    future.add_done_callback(lambda _: self.close())
        return lambda: None


def run_together(scene: Scene, *actors: Callable[[], None]) -> list[float]:
    """Start all actors at once, each after a hesitation; how long each took, in seconds."""
    barrier = threading.Barrier(len(actors))
    took_s: list[float] = []
    errors: list[BaseException] = []

    def act(actor: Callable[[], None]) -> None:
        barrier.wait()
        scene.hesitate()
        stopwatch = Stopwatch()
        try:
            actor()
        except BaseException as error:
            errors.append(error)
        took_s.append(stopwatch.elapsed_s)

    threads = [threading.Thread(target=act, args=(actor,), daemon=True) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a deadlock"
    assert not errors, errors
    return took_s


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("mode", MODES)
def test_t12_shutdown_race(
    mode: str, state: str, rival: str, repetitions: Callable[[int, int], int]
) -> None:
    for seed in range(repetitions(5, 40)):
        scene = Scene(state, mode, seed)
        compete = scene.rival(rival)
        took_s = run_together(scene, scene.close, compete, scene.gates.open_all)
        assert max(took_s) <= SHUTDOWN_BOUND_S
        for number, future in scene.accepted.items():
            assert future.done(), f"image {number} has no outcome"
            error = future.exception()
            if error is None:
                assert result_number(future.result()) == number
            else:
                assert type(error) is DetectorClosed
                assert mode == "cancel", "draining finishes what was accepted"
        stopwatch = Stopwatch()
        with pytest.raises(DetectorClosed):
            scene.detector.submit(numbered_image(0))
        assert stopwatch.elapsed_s <= REFUSAL_BOUND_S
        scene.close()  # what a worker closed may still be ending
        stats = scene.detector.statistics()
        assert stats.submitted == len(scene.accepted)
        assert stats.submitted == stats.succeeded + stats.cancelled
        assert (stats.failed, stats.workers, stats.queue_depth, stats.running) == (0, 0, 0, 0)


@pytest.mark.parametrize("place", ["from_worker", "from_callback"])
def test_t12_two_workers_that_close_at_once_do_not_wait_for_each_other(place: str) -> None:
    meeting = threading.Barrier(2)

    def close_together(*_: object) -> None:
        meeting.wait(5)
        detector.shutdown()

    plain = FakeDetector()

    def behave(images: Sequence[RGBImage]) -> list[DetectionResult]:
        if place == "from_worker":
            close_together()
        return plain.detect_batch(images)

    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(behaviour=behave, gates=gates)
    detector = AsyncDetector(fake, max_workers=2, default_batch_size=1)
    futures = [detector.submit(numbered_image(n)) for n in range(2)]
    gates.at("in_detector").wait_for_arrivals(2)
    if place == "from_callback":
        for future in futures:
            future.add_done_callback(close_together)
    gates.open_all()
    stopwatch = Stopwatch()
    detector.shutdown(timeout_s=5)
    assert stopwatch.elapsed_s <= SHUTDOWN_BOUND_S
    assert [result_number(f.result(0)) for f in futures] == [0, 1]
    assert detector.statistics().workers == 0


def busy_with_56() -> tuple[AsyncDetector, Gates, list[Future[DetectionResult]]]:
    """6 images inside the detector, 50 in the queue."""
    gates = Gates()
    gates.at("in_detector").close()
    detector = AsyncDetector(FakeDetector(gates=gates), max_workers=6, default_batch_size=1)
    futures = [detector.submit(numbered_image(n)) for n in range(6)]
    gates.at("in_detector").wait_for_arrivals(6)
    futures += [detector.submit(numbered_image(n)) for n in range(6, 56)]
    stats = detector.statistics()
    assert (stats.running, stats.queue_depth) == (6, 50)
    return detector, gates, futures


def assert_refuses_at_once(detector: AsyncDetector) -> None:
    image = numbered_image(0)

    async def awaited() -> None:
        await detector.detect_async(image)

    async def awaited_batch() -> None:
        await detector.detect_batch_async([image])

    attempts: list[Callable[[], object]] = [
        lambda: detector.detect(image),
        lambda: detector.submit(image),
        lambda: detector.detect_batch([image]),
        lambda: detector.map([image]),
        lambda: detector.stream([image]),
        lambda: asyncio.run(awaited()),
        lambda: asyncio.run(awaited_batch()),
    ]
    for attempt in attempts:
        stopwatch = Stopwatch()
        with pytest.raises(DetectorClosed):
            attempt()
        assert stopwatch.elapsed_s <= REFUSAL_BOUND_S


def test_t13_draining_finishes_all_56_and_refuses_new_work_from_the_first_moment() -> None:
    detector, gates, futures = busy_with_56()
    detector.shutdown(wait=False)
    assert_refuses_at_once(detector)
    assert not any(future.done() for future in futures)
    waiter = threading.Thread(target=detector.shutdown)
    waiter.start()
    assert_refuses_at_once(detector)
    gates.open_all()
    waiter.join(5)
    assert not waiter.is_alive()
    assert [result_number(f.result(0)) for f in futures] == list(range(56))
    stats = detector.statistics()
    assert (stats.succeeded, stats.cancelled, stats.workers) == (56, 0, 0)


@pytest.mark.parametrize("ending", ["shutdown", "aclose"])
def test_t13_what_is_handed_in_before_a_close_in_one_turn_of_the_loop_is_drained(
    ending: str,
) -> None:
    detector = AsyncDetector(FakeDetector(), max_workers=2, default_batch_size=16)

    async def main() -> list[int]:
        images = [numbered_image(n) for n in range(5)]
        calls = [asyncio.ensure_future(detector.detect_async(image)) for image in images]
        await asyncio.sleep(0)  # they wait for the end of this turn
        assert detector.statistics().submitted == 0
        if ending == "shutdown":
            detector.shutdown(wait=False)
        else:
            await detector.aclose()
        assert detector.statistics().submitted == 5
        return [result_number(r) for r in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == list(range(5))
    detector.shutdown()


def test_t13_awaited_images_are_drained_too() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    detector = AsyncDetector(FakeDetector(gates=gates), max_workers=6, default_batch_size=1)

    async def main() -> list[int]:
        images = [numbered_image(n) for n in range(56)]
        calls = [asyncio.ensure_future(detector.detect_async(image)) for image in images]
        await asyncio.sleep(0)  # some of them wait for the end of this turn of the loop
        closing = asyncio.ensure_future(detector.aclose())
        await asyncio.sleep(0)
        assert detector.statistics().submitted == 56
        with pytest.raises(DetectorClosed):
            await detector.detect_async(images[0])
        gates.open_all()
        results = await asyncio.gather(*calls)
        await closing
        return [result_number(r) for r in results]

    assert asyncio.run(main()) == list(range(56))


def test_t13_the_countdown_starts_once() -> None:
    """A second shutdown with more patience does not prolong the first one's."""
    detector, gates, futures = busy_with_56()
    first_s: list[float] = []

    def close_first() -> None:
        started = time.perf_counter()
        detector.shutdown(timeout_s=0.3)
        first_s.append(time.perf_counter() - started)

    first = threading.Thread(target=close_first)
    second = threading.Thread(target=lambda: detector.shutdown(timeout_s=20))
    first.start()
    second.start()
    first.join(5)
    try:
        assert len(first_s) == 1
        assert 0.3 * 0.98 <= first_s[0] <= 0.3 + SHUTDOWN_BOUND_S
        waiting = futures[6:]
        assert all(type(f.exception(0)) is DetectorClosed for f in waiting)
        assert not any(f.done() for f in futures[:6])
    finally:
        gates.open_all()
    second.join(5)
    assert not second.is_alive()
    assert [result_number(f.result(0)) for f in futures[:6]] == list(range(6))


def test_t13_cancelling_ends_the_50_that_wait_and_finishes_the_6_that_run() -> None:
    detector, gates, futures = busy_with_56()
    detector.shutdown(wait=False, cancel_pending=True)
    assert all(type(f.exception(0)) is DetectorClosed for f in futures[6:])
    gates.open_all()
    detector.shutdown()
    assert [result_number(f.result(0)) for f in futures[:6]] == list(range(6))
    stats = detector.statistics()
    assert (stats.succeeded, stats.cancelled) == (6, 50)
