"""T21: any history of calls, knobs, failures, closings and loops keeps the engine's promises."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from detkit import AsyncDetector, DetectionResult, DetectorClosed, InvalidImageError
from detkit.api import pool, workers
from detkit.errors import (
    DroppedError,
    OutOfMemoryError,
    PartialBatchError,
    QueueFullError,
    WorkerDiedError,
)
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, image_number, numbered_image, result_number

SETTLE_BOUND_S = 5.0
MAX_QUEUE_SIZE = 12
# One more death within a minute would open the circuit, which has tests of its own.
MAX_KILLS = 2
POISON, KILL = 1 << 20, 1 << 21


@dataclass
class Call:
    """One image on its way, and what is known of how it may end."""

    number: int
    future: Any  # of a result, from concurrent.futures or from asyncio
    era: int
    was_cancelled: bool = False


@dataclass
class BatchCall:
    """Several images of one awaited batch; None stands for an invalid one."""

    numbers: list[int | None]
    future: Any
    era: int
    was_cancelled: bool = False


class EngineMachine(RuleBasedStateMachine):
    """One detector at a time, one event loop at a time, and all calls since the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = Gates()
        self.plain = FakeDetector()
        self.fits = 99
        self.num_kills = 0
        self.next_number = 0
        self.era = 0
        self.swept_eras: set[int] = set()
        self.calls: list[Call] = []
        self.batches: list[BatchCall] = []
        self.loop = asyncio.new_event_loop()

    def behave(self, images: Sequence[RGBImage]) -> list[DetectionResult]:
        numbers = [image_number(image) for image in images]
        if len(images) > self.fits:
            raise MemoryError(f"{len(images)} images do not fit")
        if any(number & KILL for number in numbers):
            raise SystemExit("killed")
        if any(number & POISON for number in numbers):
            raise ValueError("poison")
        return self.plain.detect_batch(images)

    @initialize(overflow=st.sampled_from(["block", "reject", "drop_oldest"]))
    def open(self, overflow: Any) -> None:
        self.overflow = overflow
        self.new_detector()

    def new_detector(self) -> None:
        self.is_closed = False
        self.max_batch_size = 4
        self.detector = AsyncDetector(
            FakeDetector(behaviour=self.behave, gates=self.gates),
            max_workers=2,
            default_batch_size=4,
            max_queue_size=MAX_QUEUE_SIZE,
            overflow=self.overflow,
        )

    def number(self, flavour: str) -> int:
        if flavour == "killer" and self.num_kills < MAX_KILLS:
            self.num_kills += 1
            return self.fresh() | KILL
        return self.fresh() | (POISON if flavour == "poison" else 0)

    def fresh(self) -> int:
        self.next_number += 1
        return self.next_number

    def spin(self) -> None:
        """Two turns of the loop: what was handed in arrives, and so do results."""
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))

    flavours = st.sampled_from(["good", "good", "good", "poison", "killer"])

    # -- calls --------------------------------------------------------------------------------

    def would_block(self) -> bool:
        stats = self.detector.statistics()
        return self.overflow == "block" and stats.queue_depth >= MAX_QUEUE_SIZE

    @rule(flavour=flavours)
    def submit(self, flavour: str) -> None:
        number = self.number(flavour)
        if self.is_closed:
            with pytest.raises(DetectorClosed):
                self.detector.submit(numbered_image(number))
            return
        if self.would_block():  # and so would this test, with nobody to resume
            return
        future = self.detector.submit(numbered_image(number))
        self.calls.append(Call(number, future, self.era))

    @rule(flavour=flavours)
    def await_one(self, flavour: str) -> None:
        number = self.number(flavour)
        task = self.loop.create_task(self.detector.detect_async(numbered_image(number)))
        self.spin()
        if self.is_closed:
            assert isinstance(task.exception(), DetectorClosed)
        else:
            self.calls.append(Call(number, task, self.era))

    @rule(flavours=st.lists(st.one_of(flavours, st.none()), min_size=1, max_size=9))
    def await_batch(self, flavours: list[str | None]) -> None:
        numbers = [None if f is None else self.number(f) for f in flavours]
        images: list[Any] = [None if n is None else numbered_image(n) for n in numbers]
        task = self.loop.create_task(self.detector.detect_batch_async(images))
        self.spin()
        if self.is_closed:
            assert isinstance(task.exception(), DetectorClosed)
        else:
            self.batches.append(BatchCall(numbers, task, self.era))

    @precondition(lambda self: self.calls or self.batches)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from([*self.calls, *self.batches]), label="call")
        if call.future.cancel():
            call.was_cancelled = True
        self.spin()

    # -- circumstances ------------------------------------------------------------------------

    @rule()
    def pause(self) -> None:
        self.gates.at("in_detector").close()

    @rule()
    def resume(self) -> None:
        self.gates.open_all()

    @rule(num=st.integers(1, 4))
    def let_some_through(self, num: int) -> None:
        self.gates.at("in_detector").let_through(num)

    @rule(size=st.integers(1, 8))
    def resize_batch(self, size: int) -> None:
        self.detector.default_batch_size = size
        self.max_batch_size = max(self.max_batch_size, size)

    @rule(num=st.integers(1, 4))
    def change_workers(self, num: int) -> None:
        self.detector.max_workers = num

    @rule(timeout_s=st.sampled_from([0.0, 0.001]))
    def change_patience(self, timeout_s: float) -> None:
        self.detector.batch_timeout_s = timeout_s

    @rule(fits=st.sampled_from([0, 1, 2, 5, 99]))
    def change_memory(self, fits: int) -> None:
        self.fits = fits

    @rule(sweep=st.booleans())
    def close(self, sweep: bool) -> None:
        self.detector.shutdown(wait=False, cancel_pending=sweep)
        self.is_closed = True
        if sweep:
            self.swept_eras.add(self.era)

    @precondition(lambda self: self.is_closed)
    @rule()
    def reopen(self) -> None:
        self.settle()
        self.era += 1
        self.new_detector()

    @rule(politely=st.booleans())
    def new_loop(self, politely: bool) -> None:
        """The old loop ends with its tasks cancelled, as by asyncio.run, or just ends."""
        for kept in (self.calls, self.batches):
            for call in [c for c in kept if isinstance(c.future, asyncio.Task)]:  # type: ignore[attr-defined]
                if politely:
                    call.was_cancelled |= call.future.cancel()
                    continue
                kept.remove(call)  # type: ignore[attr-defined]
                call.future._log_destroy_pending = False
                if call.future.done() and not call.future.cancelled():
                    call.future.exception()  # so that nobody complains that nobody asked
        if politely:
            self.spin()
        self.loop.close()
        self.loop = asyncio.new_event_loop()

    # -- promises -----------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        """With the way free, everything ends in time and as it may."""
        self.gates.open_all()
        deadline = time.monotonic() + SETTLE_BOUND_S
        while not all(call.future.done() for call in [*self.calls, *self.batches]):
            assert time.monotonic() < deadline, "a call without an outcome"
            self.spin()
            threading.Event().wait(0.0005)
        for call in self.calls:
            self.check(call)
        for batch in self.batches:
            self.check_batch(batch)
        self.calls.clear()
        self.batches.clear()

    def check(self, call: Call) -> None:
        if call.was_cancelled or call.future.cancelled():
            assert call.was_cancelled and call.future.cancelled()
            return
        error = call.future.exception()
        self.check_outcome(call.number, error or call.future.result(), call.era)

    def check_batch(self, batch: BatchCall) -> None:
        if batch.was_cancelled:
            assert batch.future.cancelled()
            return
        error = batch.future.exception()
        if error is None:
            outcomes: list[Any] = batch.future.result()
        else:
            assert isinstance(error, PartialBatchError)
            outcomes = [getattr(outcome, "exception", outcome) for outcome in error.outcomes]
            assert [f.index for f in error.failures] == [
                i for i, o in enumerate(outcomes) if isinstance(o, BaseException)
            ]
        for number, outcome in zip(batch.numbers, outcomes, strict=True):
            self.check_outcome(number, outcome, batch.era)

    def check_outcome(self, number: int | None, outcome: object, era: int) -> None:
        if number is None:
            assert isinstance(outcome, InvalidImageError)
        elif isinstance(outcome, DetectionResult):
            assert result_number(outcome) == number
        else:
            allowed: dict[type, bool] = {
                ValueError: bool(number & POISON),
                WorkerDiedError: self.num_kills > 0,  # batch-mates go down with their worker
                OutOfMemoryError: True,
                DetectorClosed: era in self.swept_eras,
                QueueFullError: self.overflow == "reject",
                DroppedError: self.overflow == "drop_oldest",
            }
            assert allowed.get(type(outcome)), f"{number} must not end with {outcome!r}"

    @invariant()
    def the_books_balance(self) -> None:
        stats = self.detector.statistics()
        places = (
            stats.succeeded,
            stats.failed,
            stats.cancelled,
            stats.rejected,
            stats.queue_depth,
            stats.blocked,
            stats.running,
        )
        assert min(places) >= 0
        assert stats.submitted == sum(places)
        assert stats.queue_depth <= MAX_QUEUE_SIZE
        assert max(stats.batch_size_histogram, default=0) <= self.max_batch_size
        assert stats.worker_deaths <= self.num_kills
        assert not stats.circuit_open

    def teardown(self) -> None:
        try:
            self.settle()
        finally:  # also where it fails: a later test counts the threads there are
            self.loop.close()
            started = time.monotonic()
            self.detector.shutdown()
        assert time.monotonic() - started <= SETTLE_BOUND_S
        stats = self.detector.statistics()
        assert (stats.queue_depth, stats.blocked, stats.running, stats.workers) == (0, 0, 0, 0)


@pytest.mark.watchdog(120)
def test_t21_any_history_keeps_the_promises(scheduling: str) -> None:
    run_state_machine_as_test(EngineMachine)


@pytest.mark.watchdog(120)
def test_t21_the_machine_notices_results_that_change_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mixed_up(*arguments: Any) -> list[workers.Done]:
        done = workers.run_isolated(*arguments)
        outcomes = [entry.outcome for entry in done][::-1]
        return [entry._replace(outcome=o) for entry, o in zip(done, outcomes, strict=True)]

    monkeypatch.setattr(pool, "run_isolated", mixed_up)
    only_search = settings(phases=[Phase.generate], max_examples=100)
    with pytest.raises((AssertionError, Flaky)):
        run_state_machine_as_test(EngineMachine, settings=only_search)
