"""Everything at once, for long: no image is lost, nobody is surprised, and nothing grows.

`DETKIT_SOAK_S` says for how many seconds the nightly runs last, 15 minutes unless it is given.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic

import pytest

from detkit import AsyncDetector, DetectionResult
from detkit.errors import DetectionTimeoutError, DetkitError, WorkerDiedError
from detkit.images import RGBImage
from detkit.testing import (
    FakeDetector,
    image_number,
    numbered_image,
    numbered_result,
    result_number,
)

NUM_THREADS = 8
SEED = 20260101
WEIGHTS = {
    "valid": 50, "slow": 10, "timeout": 10, "cancel": 10, "poison": 8, "memory": 4, "crash": 4,
    "reopen": 4,
}  # fmt: skip
KINDS = list(WEIGHTS)
NUMBERS_OF_A_KIND = 100_000
SOAK_S = float(os.environ.get("DETKIT_SOAK_S", 900))
# A leak of a tenth of a kilobyte per image shows; what the engine itself keeps does not grow.
GROWTH_BOUND_BYTES = 200_000


def behaviour(images: Sequence[RGBImage]) -> list[DetectionResult]:
    """What an image does to the detector is written in its number."""
    numbers = [image_number(image) for image in images]
    kinds = {KINDS[number // NUMBERS_OF_A_KIND] for number in numbers}
    if "crash" in kinds:
        raise SystemExit("told to die")
    if "memory" in kinds and len(images) > 1:
        raise MemoryError("told not to fit")
    if "poison" in kinds:
        raise ValueError("told to fail")
    if kinds & {"slow", "timeout"}:
        threading.Event().wait(0.003)
    return [numbered_result(number) for number in numbers]


def one_call(engine: AsyncDetector, kind: str, number: int) -> str:
    """Do one thing to an engine that all threads share; what became of it in one word."""
    image = numbered_image(KINDS.index(kind) * NUMBERS_OF_A_KIND + number % NUMBERS_OF_A_KIND)
    try:
        if kind == "cancel":
            future = engine.submit(image)
            if future.cancel():
                return "cancelled"
            result = future.result(20)
        elif kind == "timeout":
            result = engine.detect(image, timeout_s=0.001)
        elif kind == "reopen":
            with AsyncDetector(FakeDetector(behaviour=behaviour)) as own:
                result = asyncio.run(own.detect_async(image))
        else:
            result = engine.detect(image)
    except (DetectionTimeoutError, WorkerDiedError) as error:
        return type(error).__name__
    except ValueError:
        return "ValueError"
    return "ok" if result_number(result) == image_number(image) else "another's result"


# What may become of each kind. A worker that dies takes the rest of its batch with it.
ALLOWED = {
    "valid": {"ok", "WorkerDiedError"},
    "slow": {"ok", "WorkerDiedError"},
    "timeout": {"ok", "DetectionTimeoutError", "WorkerDiedError"},
    "cancel": {"ok", "cancelled", "WorkerDiedError"},
    "poison": {"ValueError", "WorkerDiedError"},
    "memory": {"ok", "WorkerDiedError"},
    "crash": {"WorkerDiedError"},
    "reopen": {"ok"},
}


def storm(num_calls: int, soak_s: float) -> Counter[tuple[str, str]]:
    """So many calls of eight threads, or as many as fit into the time if it is longer."""
    outcomes: Counter[tuple[str, str]] = Counter()
    lock, numbers, end = threading.Lock(), count(), monotonic() + soak_s

    def caller(thread: int) -> None:
        chance = random.Random(SEED + thread)
        while (number := next(numbers)) < num_calls or monotonic() < end:
            kind = chance.choices(KINDS, list(WEIGHTS.values()))[0]
            try:
                outcome = one_call(engine, kind, number)
            except DetkitError as error:
                outcome = f"unexpected {type(error).__name__}: {error}"
            with lock:
                outcomes[kind, outcome] += 1

    with AsyncDetector(FakeDetector(behaviour=behaviour), 4) as engine:
        threads = [
            threading.Thread(target=caller, args=(n,), daemon=True) for n in range(NUM_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60 + soak_s)
            assert not thread.is_alive(), f"seed {SEED}: a caller hangs, {outcomes}"
        stats = engine.statistics()
    ended = stats.succeeded + stats.failed + stats.cancelled + stats.rejected
    assert stats.submitted == ended, f"seed {SEED}: {stats}"
    return outcomes


def surprises(outcomes: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    return [both for both in outcomes if both[1] not in ALLOWED[both[0]]]


@pytest.mark.watchdog(1000 + SOAK_S)
def test_t28_chaos_surprises_nobody(
    repetitions: Callable[[int, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detkit.api.circuit.MAX_DEATHS", 10**6)  # many are meant to die here
    outcomes = storm(repetitions(2_000, 20_000), repetitions(0, 1) * SOAK_S)
    assert surprises(outcomes) == [], f"seed {SEED}"
    assert {kind for kind, _ in outcomes} == set(KINDS)
    for kind in ("valid", "memory", "slow"):  # dying neighbours are few
        all_of_them = sum(number for both, number in outcomes.items() if both[0] == kind)
        assert outcomes[kind, "ok"] > all_of_them / 2


def test_t28_the_check_finds_a_result_that_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detkit.api.circuit.MAX_DEATHS", 10**6)
    monkeypatch.setitem(globals(), "numbered_result", lambda _: numbered_image_result)
    assert ("valid", "another's result") in surprises(storm(300, 0))


numbered_image_result = numbered_result(1)


def growth(leak: list[bytes] | None, num_images: int, soak_s: float) -> int:
    """How many bytes more the second half of a run holds at its most than on average."""

    def answer(images: Sequence[RGBImage]) -> list[DetectionResult]:
        if leak is not None:
            leak.extend(bytes(1000) for _ in images)
        return [numbered_result(image_number(image)) for image in images]

    held: list[int] = []
    images = [numbered_image(number) for number in range(100)]
    end, rounds = monotonic() + soak_s, 0
    with AsyncDetector(FakeDetector(behaviour=answer), 4) as engine:
        engine.detect_batch(images)
        tracemalloc.start()
        try:
            while rounds * len(images) < num_images or monotonic() < end:
                engine.detect_batch(images)
                rounds += 1
                if rounds % 10 == 0:
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    second_half = sorted(held[len(held) // 2 :])
    trimmed = second_half[len(second_half) // 20 : -max(1, len(second_half) // 20)]
    return trimmed[-1] - sum(trimmed) // len(trimmed)


@pytest.mark.watchdog(1000 + SOAK_S)
def test_t27_a_long_run_holds_no_more_than_a_short_one(
    repetitions: Callable[[int, int], int],
) -> None:
    num_images, soak_s = repetitions(10_000, 1_000_000), repetitions(0, 1) * SOAK_S
    assert growth(None, num_images, soak_s) <= GROWTH_BOUND_BYTES


def test_t27_the_check_finds_a_detector_that_leaks() -> None:
    assert growth([], 5_000, 0) > GROWTH_BOUND_BYTES
