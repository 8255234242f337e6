"""The batching decision alone: invariants under any history, and batches as modelled by hand."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detkit.api.batcher import Batcher, BatchKey, Waiting

A, B = BatchKey("a"), BatchKey("b")


class Image(Waiting):
    def __init__(self, key: BatchKey, number: int = 0) -> None:
        super().__init__(key)
        self.number = number


def offer_all(batcher: Batcher[Image], keys: Sequence[BatchKey], now: float = 0.0) -> list[Image]:
    images = [Image(key, number) for number, key in enumerate(keys)]
    for image in images:
        batcher.offer(image, now)
    return images


# -- rules, one by one --------------------------------------------------------------------------


def test_the_oldest_goes_first_with_its_kind() -> None:
    batcher: Batcher[Image] = Batcher(4)
    images = offer_all(batcher, [A, B, A, B])
    assert batcher.next_batch(0.0) == [images[0], images[2]]
    assert batcher.next_batch(0.0) == [images[1], images[3]]
    assert batcher.next_batch(0.0) == []


def test_settings_and_batch_size_keep_images_apart() -> None:
    batcher: Batcher[Image] = Batcher(8)
    images = offer_all(batcher, [A, A._replace(batch_size=2), A, A._replace(batch_size=2)])
    assert batcher.next_batch(0.0) == [images[0], images[2]]


def test_a_full_batch_is_not_divided_while_images_wait_for_company() -> None:
    # Divided, its second half would be no full batch, and wait for the time-out.
    batcher: Batcher[Image] = Batcher(2, batch_timeout_s=1000.0)
    images = offer_all(batcher, [A, A])
    assert batcher.next_batch(0.0, num_idle=4) == images


def test_an_image_that_a_finalizer_discards_meanwhile_is_not_taken() -> None:
    # A garbage collection may end a forgotten `map` on the worker that forms a batch.
    class Collecting(Image):
        def __getattribute__(self, name: str) -> object:
            if name == "sequence" and doomed:
                batcher.discard(doomed.pop())
            return super().__getattribute__(name)

    doomed: list[Image] = []
    batcher: Batcher[Image] = Batcher(4)
    images = [Collecting(A), Image(A, 1), Image(A, 2)]
    for image in images:
        batcher.offer(image, 0.0)
    doomed.append(images[1])
    assert batcher.next_batch(0.0) == [images[0], images[2]]
    assert len(batcher) == 0 and batcher.next_batch(0.0) == []


def test_what_waits_is_divided_evenly_among_idle_workers() -> None:
    batcher: Batcher[Image] = Batcher(16)
    offer_all(batcher, [A] * 10)
    assert [len(batcher.next_batch(0.0, idle)) for idle in (4, 3, 2, 1)] == [3, 3, 2, 2]


@pytest.mark.parametrize("num_images", [1, 16, 17, 31, 32, 33, 48, 64, 65, 100])
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_an_explicit_size_takes_as_few_batches_as_it_allows_and_evens_out_the_last(
    num_images: int, num_workers: int
) -> None:
    key = A._replace(batch_size=32)
    calls = simulate(Script([(0, num_images, key)], [], num_workers=num_workers))
    sizes = [size for _, size in calls]
    assert sum(sizes) == num_images
    assert max(sizes) <= 32
    assert len(sizes) == -(-num_images // 32), "one more call may cost more than it saves"
    if num_images <= num_workers * 32:
        assert max(sizes) - min(sizes) <= 1


def test_flush_waits_for_nobody() -> None:
    batcher: Batcher[Image] = Batcher(4, batch_timeout_s=1000.0)
    images = offer_all(batcher, [A])
    assert batcher.next_batch(0.0) == []
    assert batcher.next_batch(0.0, flush=True) == images


def test_a_discarded_image_makes_room_for_a_blocked_one() -> None:
    batcher: Batcher[Image] = Batcher(4, max_queue_size=2)
    images = offer_all(batcher, [A] * 4)
    assert (len(batcher), batcher.num_blocked) == (2, 2)
    assert batcher.discard(images[0])
    assert not batcher.discard(images[0])
    assert (len(batcher), batcher.num_blocked) == (2, 1)
    assert batcher.next_batch(0.0) == [images[1], images[2]]
    assert batcher.next_batch(0.0) == [images[3]]


def test_overflow_rejects_or_drops_the_oldest() -> None:
    rejecting: Batcher[Image] = Batcher(4, max_queue_size=1, overflow="reject")
    offer_all(rejecting, [A])
    assert not rejecting.offer(Image(A), 0.0).accepted
    dropping: Batcher[Image] = Batcher(4, max_queue_size=1, overflow="drop_oldest")
    (oldest,) = offer_all(dropping, [A])
    assert dropping.offer(Image(A), 0.0).dropped is oldest
    assert len(dropping) == 1


def test_a_memory_limit_holds_for_its_shape_until_forgotten() -> None:
    batcher: Batcher[Image] = Batcher(8)
    batcher.remember_memory_limit(A, 3)
    batcher.remember_memory_limit(A, 5)
    assert (batcher.limit(A), batcher.limit(A._replace(batch_size=2)), batcher.limit(B)) == (
        3,
        2,
        8,
    )
    batcher.remember_memory_limit(A, 0)
    assert batcher.limit(A) == 1
    batcher.forget_memory_limits()
    assert batcher.limit(A) == 8


# -- any history --------------------------------------------------------------------------------


class AnyHistory(RuleBasedStateMachine):
    """Whatever is done to a batcher, every image ends once and every batch keeps the rules."""

    @initialize(
        max_batch_size=st.integers(1, 5),
        batch_timeout_s=st.sampled_from([0.0, 0.3, 2.0]),
        max_queue_size=st.integers(1, 8),
        overflow=st.sampled_from(["block", "reject", "drop_oldest"]),
    )
    def begin(self, **options: object) -> None:
        self.batcher: Batcher[Image] = Batcher(**options)  # type: ignore[arg-type]
        self.now = 0.0
        self.waiting: list[Image] = []  # oldest first, blocked ones at the end
        self.num_offered = 0
        self.num_ended = 0

    @rule(shape=st.sampled_from("ab"), batch_size=st.sampled_from([None, None, 1, 3]))
    def offer(self, shape: str, batch_size: int | None) -> None:
        image = Image(BatchKey(shape, None, batch_size), self.num_offered)
        self.num_offered += 1
        was_full = self.batcher.is_full
        answer = self.batcher.offer(image, self.now)
        overflow = self.batcher.overflow
        assert answer.accepted == (not was_full or overflow != "reject")
        assert answer.blocked == (was_full and overflow == "block")
        if answer.accepted:
            self.waiting.append(image)
        else:
            self.num_ended += 1
        if was_full and overflow == "drop_oldest":
            assert answer.dropped is self.waiting[0]
            self.end([self.waiting[0]])
        else:
            assert answer.dropped is None

    @rule(passed_s=st.sampled_from([0.1, 0.3, 2.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now += passed_s

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        image = data.draw(st.sampled_from(self.waiting))
        assert self.batcher.discard(image)
        self.end([image])

    @rule(num_idle=st.integers(1, 4), flush=st.booleans())
    def take(self, num_idle: int, flush: bool) -> None:
        queued = self.waiting[: len(self.batcher)]
        ready_at = self.batcher.ready_at()
        batch = self.batcher.next_batch(self.now, num_idle, flush=flush)
        is_due = ready_at is not None and (flush or self.now >= ready_at)
        if not batch:
            assert not is_due
            for key in {image.key for image in queued}:
                assert sum(i.key == key for i in queued) < self.batcher.limit(key)
            return
        key = batch[0].key
        mates = [image for image in queued if image.key == key]
        limit = self.batcher.limit(key)
        assert batch == mates[: len(batch)]
        assert len(batch) <= limit
        assert not is_due or batch[0] is queued[0]
        if not flush and self.batcher.batch_timeout_s > 0:
            assert is_due or len(batch) == limit, "only a full batch need not wait"
        is_divided = num_idle > 1 and self.batcher.batch_timeout_s == 0
        if not is_divided:
            assert len(batch) == min(limit, len(mates))
        else:
            assert len(batch) >= min(limit, -(-len(mates) // num_idle))
        self.end(batch)

    @rule(size=st.integers(1, 5))
    def change_batch_size(self, size: int) -> None:
        self.batcher.max_batch_size = size

    @rule(shape=st.sampled_from("ab"), size=st.integers(0, 4))
    def run_out_of_memory(self, shape: str, size: int) -> None:
        self.batcher.remember_memory_limit(BatchKey(shape), size)
        assert self.batcher.limit(BatchKey(shape)) <= max(1, size)

    @rule()
    def sweep(self) -> None:
        assert self.batcher.everything() == self.waiting
        for image in self.batcher.everything():
            assert self.batcher.discard(image)
        self.end(list(self.waiting))

    def end(self, images: list[Image]) -> None:
        for image in images:
            self.waiting.remove(image)  # ValueError if it ended before
            self.num_ended += 1

    @invariant()
    def every_image_is_somewhere(self) -> None:
        if not hasattr(self, "batcher"):
            return
        batcher = self.batcher
        assert self.num_offered == self.num_ended + len(self.waiting)
        assert len(batcher) + batcher.num_blocked == len(self.waiting)
        assert len(batcher) <= batcher.max_queue_size
        assert batcher.num_blocked == 0 or batcher.is_full
        assert (batcher.ready_at() is None) == (len(batcher) == 0)

    def teardown(self) -> None:
        if not hasattr(self, "batcher"):
            return
        while batch := self.batcher.next_batch(self.now, flush=True):
            self.end(batch)
        assert not self.waiting


# Nothing in here can hang, but a failing history takes its time to be made short.
TestAnyHistory = pytest.mark.watchdog(300)(AnyHistory.TestCase)


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 5), st.sampled_from([A, B])), max_size=30),
    timeout_s=st.sampled_from([0.0, 0.25, 1.0]),
)
def test_asking_at_ready_at_always_yields_a_batch(
    arrivals: list[tuple[float, BatchKey]], timeout_s: float
) -> None:
    batcher: Batcher[Image] = Batcher(4, timeout_s)
    for time, key in sorted(arrivals):
        batcher.offer(Image(key), time)
    num_seen = 0
    while (ready_at := batcher.ready_at()) is not None:
        batch = batcher.next_batch(ready_at)
        assert batch
        num_seen += len(batch)
    assert num_seen == len(arrivals)


# -- batches as modelled by hand ----------------------------------------------------------------


class Script(NamedTuple):
    """Arrivals `(time, how many, key)` and the calls they must lead to, `(time, size)`."""

    arrivals: list[tuple[float, int, BatchKey]]
    calls: list[tuple[float, int]]
    max_batch_size: int = 4
    timeout_s: float = 0.0
    num_workers: int = 1
    call_s: float = 1.0


A4 = A._replace(batch_size=4)
SCRIPTS = {
    "lone": Script([(0, 1, A)], [(0, 1)]),
    "burst": Script([(0, 3, A)], [(0, 3)]),
    "full": Script([(0, 4, A)], [(0, 4)]),
    "one_too_many": Script([(0, 5, A)], [(0, 4), (1, 1)]),
    "long_burst": Script([(0, 10, A)], [(0, 4), (1, 4), (2, 2)]),
    "pile_up_while_busy": Script([(0, 1, A), (0.5, 3, A)], [(0, 1), (1, 3)]),
    "slow_trickle": Script([(0, 1, A), (2, 1, A), (4, 1, A)], [(0, 1), (2, 1), (4, 1)]),
    "fast_trickle": Script([(t / 4, 1, A) for t in range(8)], [(0, 1), (1, 4), (2, 3)]),
    "three_rounds": Script([(0, 2, A), (0.5, 5, A), (1.5, 1, A)], [(0, 2), (1, 4), (2, 2)]),
    "no_batching": Script([(0, 3, A)], [(0, 1), (1, 1), (2, 1)], max_batch_size=1),
    "two_shapes": Script([(0, 1, A), (0, 1, B), (0, 1, A), (0, 2, B)], [(0, 2), (1, 3)]),
    "two_workers": Script([(0, 4, A)], [(0, 2), (0, 2)], num_workers=2),
    "two_workers_odd": Script([(0, 5, A)], [(0, 3), (0, 2)], num_workers=2),
    "two_workers_long": Script([(0, 10, A)], [(0, 4), (0, 4), (1, 1), (1, 1)], num_workers=2),
    "asked_for_size": Script([(0, 6, A4)], [(0, 3), (0, 3)], max_batch_size=9, num_workers=2),
    "asked_for_one_call": Script([(0, 4, A4)], [(0, 4)], num_workers=2),
    "asked_for_size_long": Script([(0, 10, A4)], [(0, 4), (0, 4), (1, 2)], num_workers=2),
    "asked_for_size_alone": Script([(0, 6, A4)], [(0, 4), (1, 2)], num_workers=1),
    "patience_alone": Script([(0, 1, A)], [(0.5, 1)], timeout_s=0.5),
    "patience_filled": Script([(0, 1, A), (0.25, 3, A)], [(0.25, 4)], timeout_s=0.5),
    "patience_ends": Script([(0, 1, A), (0.25, 1, A)], [(0.5, 2)], timeout_s=0.5),
    "patience_two_shapes": Script([(0, 1, A), (0.25, 1, B)], [(0.5, 1), (1.5, 1)], timeout_s=0.5),
    "full_overtakes_waiting": Script(
        [(0, 1, A), (0.25, 4, B)], [(0.25, 4), (1.25, 1)], timeout_s=1.0
    ),
    "endless_patience": Script(
        [(0, 10, A)],
        [(0, 2), (0, 2), (1, 2), (1, 2), (2, 2)],
        max_batch_size=2,
        timeout_s=1000.0,
        num_workers=2,
    ),
}


def simulate(script: Script) -> list[tuple[float, int]]:
    """Run a script against a `Batcher` and workers that take `call_s` for every call."""
    batcher: Batcher[Image] = Batcher(script.max_batch_size, script.timeout_s)
    arrivals = sorted(script.arrivals, key=lambda arrival: arrival[0])
    busy_until: list[float] = []
    calls: list[tuple[float, int]] = []
    now = 0.0
    while True:
        while arrivals and arrivals[0][0] <= now:
            _, number, key = arrivals.pop(0)
            for _ in range(number):
                batcher.offer(Image(key), now)
        while busy_until and busy_until[0] <= now:
            heapq.heappop(busy_until)
        while num_idle := script.num_workers - len(busy_until):
            batch = batcher.next_batch(now, num_idle)
            if not batch:
                break
            calls.append((now, len(batch)))
            heapq.heappush(busy_until, now + script.call_s)
        events = [arrival[0] for arrival in arrivals[:1]] + busy_until[:1]
        ready_at = batcher.ready_at()
        if ready_at is not None and len(busy_until) < script.num_workers:
            events.append(ready_at)
        if not events:
            return calls
        now = min(events)


@pytest.mark.parametrize("name", SCRIPTS)
def test_t03_batches_are_formed_as_modelled(name: str) -> None:
    assert simulate(SCRIPTS[name]) == SCRIPTS[name].calls
