"""T08: a worker that dies or hangs costs at most its batch, and never the detector."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait

import pytest

from detkit import AsyncDetector, DetectionResult, PartialBatchError
from detkit.api import circuit, workers
from detkit.errors import CircuitOpenError, WorkerDiedError, WorkerHungError
from detkit.images import RGBImage
from detkit.testing import (
    FakeDetector,
    Gates,
    engine_windows,
    image_number,
    numbered_image,
    numbered_result,
    result_number,
)

MAX_BATCH = 4
NUM_IMAGES = 40
REPLACEMENT_BOUND_S = 1.0
TOLD_BOUND_S = 0.5


class Killed(BaseException):
    """Whatever ends a worker."""


def killer(number: int, kind: type[BaseException]) -> Callable[[Sequence[RGBImage]], object]:
    """A behaviour that ends its worker once, at the image with this number."""
    used = threading.Event()

    def behave(images: Sequence[RGBImage]) -> object:
        numbers = [image_number(image) for image in images]
        if number in numbers and not used.is_set():
            used.set()
            raise kind
        return [numbered_result(n) for n in numbers]

    return behave


def outcomes_of(
    detector: AsyncDetector, num_images: int = NUM_IMAGES
) -> tuple[list[int], list[BaseException]]:
    """Numbers that got their own result, and the errors of the others."""
    images = [numbered_image(n) for n in range(num_images)]
    try:
        results = detector.detect_batch(images, timeout_s=10)
    except PartialBatchError as error:
        for index, outcome in enumerate(error.outcomes):
            assert not isinstance(outcome, DetectionResult) or result_number(outcome) == index
        return [result_number(r) for r in error.results], [f.exception for f in error.failures]
    assert [result_number(r) for r in results] == list(range(num_images))
    return list(range(num_images)), []


def check_replacement(detector: AsyncDetector) -> None:
    started = time.perf_counter()
    assert result_number(detector.detect(numbered_image(1000))) == 1000
    assert time.perf_counter() - started <= REPLACEMENT_BOUND_S


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, Killed])
def test_t08_dying_replica_costs_at_most_its_batch(
    kind: type[BaseException], scheduling: str
) -> None:
    for trial in range(50 if scheduling == "usual" else 10):
        fake = FakeDetector(behaviour=killer(trial % NUM_IMAGES, kind))
        with AsyncDetector(fake, max_workers=2, default_batch_size=MAX_BATCH) as detector:
            good, errors = outcomes_of(detector)
            assert 1 <= len(errors) <= MAX_BATCH
            assert {type(error) for error in errors} == {WorkerDiedError}
            assert all(isinstance(error.__cause__, kind) for error in errors)
            assert len(good) + len(errors) == NUM_IMAGES
            check_replacement(detector)
            stats = detector.statistics()
            assert (stats.worker_deaths, stats.circuit_open) == (1, False)
            assert stats.submitted == stats.succeeded + stats.failed


@pytest.fixture
def kill_in_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Ends the next worker that enters a window."""
    armed: list[str] = []
    lock = threading.Lock()

    def hook(name: str) -> None:
        with lock:
            is_due = name in armed
            armed.clear() if is_due else None
        if is_due:
            raise Killed

    monkeypatch.setattr(workers, "window_hook", hook)
    yield armed.append
    monkeypatch.setattr(workers, "window_hook", None)


@pytest.mark.parametrize("window", ["dequeued", "assembling", "calling", "posting", "done"])
def test_t08_dying_thread_costs_at_most_its_batch(
    window: str, kill_in_window: Callable[[str], None], scheduling: str
) -> None:
    for _ in range(50 if scheduling == "usual" else 10):
        with AsyncDetector(FakeDetector(), max_workers=2, default_batch_size=MAX_BATCH) as detector:
            kill_in_window(window)
            good, errors = outcomes_of(detector)
            assert len(errors) <= (0 if window == "done" else MAX_BATCH)
            assert {type(error) for error in errors} <= {WorkerDiedError}
            assert len(good) + len(errors) == NUM_IMAGES
            check_replacement(detector)
            assert detector.statistics().worker_deaths == 1


def test_t08_hanging_replica_costs_at_most_its_batch(
    repetitions: Callable[[int, int], int],
) -> None:
    for _ in range(repetitions(10, 50)):
        gates = Gates()
        gates.at("hang").close()

        def behave(images: Sequence[RGBImage], gates: Gates = gates) -> object:
            numbers = [image_number(image) for image in images]
            if 13 in numbers:
                gates.at("hang").pass_through()
            return [numbered_result(n) for n in numbers]

        fake = FakeDetector(behaviour=behave)
        with AsyncDetector(
            fake, max_workers=2, default_batch_size=MAX_BATCH, hang_timeout_s=0.1
        ) as detector:
            good, errors = outcomes_of(detector)
            assert 1 <= len(errors) <= MAX_BATCH
            assert {type(error) for error in errors} == {WorkerHungError}
            assert "in behave" in str(errors[0]), "the message says where it hangs"
            assert 13 not in good
            assert len(good) + len(errors) == NUM_IMAGES
            check_replacement(detector)
            gates.open_all()  # what it brings now is nobody's
            check_replacement(detector)
            stats = detector.statistics()
            assert (stats.worker_deaths, stats.circuit_open) == (1, False)
            assert stats.submitted == stats.succeeded + stats.failed


def test_t08_a_shutdown_under_way_does_not_wait_for_a_worker_that_is_given_up() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    detector = AsyncDetector(fake, max_workers=1, default_batch_size=1, hang_timeout_s=0.3)
    future = detector.submit(numbered_image(1))
    gates.at("in_detector").wait_for_arrivals(1)
    with gates:
        detector.shutdown()  # begins before the worker counts as hung, and ends while it hangs
        assert isinstance(future.exception(0), WorkerHungError)


def test_t08_all_callers_are_told_when_the_circuit_opens() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    num_deaths = 0
    third_death_at = 0.0

    def die(_: Sequence[RGBImage]) -> object:
        nonlocal num_deaths, third_death_at
        num_deaths += 1
        third_death_at = time.perf_counter()
        raise Killed

    fake = FakeDetector(behaviour=die, gates=gates)
    told: list[BaseException] = []
    with AsyncDetector(fake, max_workers=1, default_batch_size=1) as detector:
        futures = [detector.submit(numbered_image(n)) for n in range(20)]

        def wait_in_thread() -> None:
            with pytest.raises(PartialBatchError) as caught:
                detector.detect_batch([numbered_image(n) for n in range(20)])
            told.extend(f.exception for f in caught.value.failures)

        async def wait_in_loop() -> None:
            calls = [detector.detect_async(numbered_image(n)) for n in range(20)]
            both = asyncio.gather(*calls, return_exceptions=True), asyncio.to_thread(open_gate)
            told.extend((await asyncio.gather(*both))[0])

        def open_gate() -> None:
            while detector.statistics().queue_depth < 59:  # all but the one in the detector
                threading.Event().wait(0.001)
            gates.open_all()

        thread = threading.Thread(target=wait_in_thread)
        thread.start()
        asyncio.run(wait_in_loop())
        wait(futures)
        thread.join()
        assert time.perf_counter() - third_death_at <= TOLD_BOUND_S
        told.extend(error for f in futures if (error := f.exception()) is not None)
        assert num_deaths == 3
        kinds = [type(error) for error in told]
        assert kinds.count(WorkerDiedError) == 3
        assert kinds.count(CircuitOpenError) == 57
        started = time.perf_counter()
        with pytest.raises(CircuitOpenError):
            detector.detect(numbered_image(1))
        assert time.perf_counter() - started <= TOLD_BOUND_S
        stats = detector.statistics()
        assert stats.circuit_open
        assert stats.submitted == stats.failed + stats.cancelled == 60


def test_t08_circuit_closes_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit, "COOLDOWN_S", 0.0)
    fake = FakeDetector()
    with AsyncDetector(fake, max_workers=1) as detector:

        def die(_: Sequence[RGBImage]) -> object:
            raise Killed

        fake.behaviour = die
        for _ in range(circuit.MAX_DEATHS):
            with pytest.raises(WorkerDiedError):
                detector.detect(numbered_image(0))
        fake.behaviour = None
        check_replacement(detector)
        assert detector.statistics().worker_deaths == circuit.MAX_DEATHS


def test_only_detector_that_hangs_is_used_again_when_it_returns() -> None:
    class Only(FakeDetector):
        replicate = None  # type: ignore[assignment]

    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(Only(gates=gates), hang_timeout_s=0.1) as detector:
        with pytest.raises(WorkerHungError):
            detector.detect(numbered_image(0))
        waiting = detector.submit(numbered_image(1))
        gates.open_all()
        assert result_number(waiting.result(5)) == 1
        assert detector.statistics().worker_deaths == 1


def test_batch_that_everybody_gave_up_does_not_count_as_hanging() -> None:
    with engine_windows(Gates()) as gates:
        gates.at("assembling").close()
        with AsyncDetector(FakeDetector(), max_workers=1, hang_timeout_s=30) as detector:
            future = detector.submit(numbered_image(0))
            gates.at("assembling").wait_for_arrivals(1)
            assert future.cancel()
            gates.at("done").close()
            gates.open_all()
            gates.at("done").wait_for_arrivals(1)
            assert detector._engine.pool.call_starts_locked() == []
            check_replacement(detector)


class Closing(FakeDetector):
    """Notes how many replicas were closed; may fail to."""

    def __init__(self, *, breaks: bool = False, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.breaks = breaks
        self.num_closed = 0

    def replicate(self) -> FakeDetector | None:
        copy = super().replicate()
        if copy is not None:
            copy.close = self._close_replica  # type: ignore[method-assign]
        return copy

    def _close_replica(self) -> None:
        self.num_closed += 1
        if self.breaks:
            raise RuntimeError("cannot be closed")


@pytest.mark.parametrize("breaks", [False, True])
def test_replicas_that_died_are_closed_and_nothing_depends_on_it(breaks: bool) -> None:
    fake = Closing(breaks=breaks)

    def die(_: Sequence[RGBImage]) -> object:
        raise Killed

    with AsyncDetector(fake, max_workers=1) as detector:
        for _ in range(2):
            fake.behaviour = die
            with pytest.raises(WorkerDiedError):
                detector.detect(numbered_image(0))
            fake.behaviour = None
            check_replacement(detector)
        assert (fake.num_replicas, fake.num_closed) == (3, 1)
    assert fake.num_closed == 2


def test_callback_that_exits_keeps_no_other_image_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(FakeDetector(gates=gates), max_workers=1) as detector:
        blocker = detector.submit(numbered_image(0))
        gates.at("in_detector").wait_for_arrivals(1)
        mates = [detector.submit(numbered_image(n)) for n in range(1, 5)]

        def leave(_: Future[DetectionResult]) -> None:
            raise SystemExit

        mates[0].add_done_callback(leave)
        gates.open_all()
        assert result_number(blocker.result(5)) == 0
        assert [result_number(f.result(5)) for f in mates] == [1, 2, 3, 4]
        check_replacement(detector)
        assert detector.statistics().worker_deaths == 0
    assert "a callback of a future raised" in caplog.text


def test_system_that_gives_no_thread_is_told_to_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with AsyncDetector(FakeDetector()) as detector:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(WorkerDiedError, match="can't start new thread"):
                detector.detect(numbered_image(0))
            with pytest.raises(WorkerDiedError, match="can't start new thread"):
                asyncio.run(detector.detect_async(numbered_image(0)))
            assert detector.statistics().queue_depth == 0
        check_replacement(detector)


def test_t08_a_replica_that_cannot_be_closed_does_not_keep_the_place_of_its_worker() -> None:
    class Stubborn(FakeDetector):
        def replicate(self) -> FakeDetector | None:
            copy = super().replicate()
            copy.close = close  # type: ignore[union-attr]
            return copy

    def close() -> None:
        raise SystemExit

    def die_once(_: Sequence[RGBImage]) -> object:
        fake.behaviour = None
        raise Killed

    fake = Stubborn(behaviour=die_once)
    with AsyncDetector(fake, max_workers=1) as detector:
        with pytest.raises(WorkerDiedError):
            detector.detect(numbered_image(1))
        assert result_number(detector.detect(numbered_image(2))) == 2  # by a copy
        detector.detector = FakeDetector()
        assert result_number(detector.detect(numbered_image(3), timeout_s=5)) == 3


def test_t08_a_system_without_a_thread_for_the_watchdog_costs_no_image(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, refused = threading.Thread.start, []

    def start_or_not(thread: threading.Thread) -> None:
        if thread.name == "detkit-watchdog" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)
    with Gates() as gates:
        fake = FakeDetector(gates=gates)
        with AsyncDetector(fake, max_workers=1, hang_timeout_s=0.1) as detector:
            assert result_number(detector.detect(numbered_image(1))) == 1
            assert refused and "watchdog" in caplog.text
            gates.at("in_detector").close()
            with pytest.raises(WorkerHungError):  # the next call is watched again
                detector.detect(numbered_image(2))
            gates.open_all()
