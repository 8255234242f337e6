"""T15 and T16: nothing is kept alive, and opening and closing leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import tracemalloc
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from detkit import AsyncDetector, DetectionResult, PartialBatchError
from detkit.images import RGBImage
from detkit.testing import FakeDetector, Gates, engine_windows, numbered_image, result_number

GONE_BOUND_S = 1.0
NUM_CYCLES = 20
GROWTH_BOUND_BYTES = 20_000  # per cycle

pytestmark = pytest.mark.usefixtures("scheduling")


def assert_dead(**references: weakref.ref[Any]) -> None:
    """All of these are gone within the bound; otherwise say who holds them."""
    deadline = time.monotonic() + GONE_BOUND_S
    while True:
        gc.collect()
        # No name may be left that holds what is asked for.
        alive = {name for name, reference in references.items() if reference() is not None}
        if not alive:
            return
        if time.monotonic() > deadline:
            holders = {n: [repr(r)[:300] for r in gc.get_referrers(references[n]())] for n in alive}
            raise AssertionError(f"still referred to: {holders}")
        threading.Event().wait(0.01)


async def ask_all_ways(
    detector: AsyncDetector, image: RGBImage
) -> tuple[weakref.ref[Any], weakref.ref[Any]]:
    """Every kind of call once; weak references to the loop and to the last result."""
    result = await detector.detect_async(image)
    await detector.detect_batch_async([image, image])
    async for one in detector.stream([image, image]):
        result = one  # type: ignore[assignment]
    detector.detect(image)
    detector.detect_batch([image, image])
    detector.submit(image).result(5)
    for one in detector.map([image, image]):
        result = one  # type: ignore[assignment]
    assert result_number(result) == 7
    return weakref.ref(asyncio.get_running_loop()), weakref.ref(result)


@pytest.mark.parametrize("ending", ["shutdown", "aclose", "with"])
def test_t15_a_closed_detector_keeps_no_loop_image_or_result(ending: str) -> None:
    image = numbered_image(7)
    fake = FakeDetector()
    detector = AsyncDetector(fake, max_workers=2)
    loop, result = asyncio.run(ask_all_ways(detector, image))
    if ending == "shutdown":
        detector.shutdown()
    elif ending == "aclose":
        asyncio.run(detector.aclose())
    else:
        with detector:
            pass
    references = {"image": weakref.ref(image), "loop": loop, "result": result}
    del image
    assert_dead(**references)
    references = {"detector": weakref.ref(detector), "fake": weakref.ref(fake)}
    del detector, fake
    assert_dead(**references)


def test_t15_an_idle_open_detector_keeps_no_loop_image_or_result() -> None:
    with AsyncDetector(FakeDetector(), max_workers=2) as detector:
        image = numbered_image(7)
        loop, result = asyncio.run(ask_all_ways(detector, image))
        reference = weakref.ref(image)
        del image
        assert_dead(image=reference, loop=loop, result=result)


def test_t15_an_open_detector_keeps_no_image_of_calls_that_failed() -> None:
    def fail(images: Sequence[RGBImage]) -> list[DetectionResult]:
        local = list(images)
        raise ValueError(f"cannot detect in {len(local)} images")

    with AsyncDetector(FakeDetector(behaviour=fail)) as detector:
        image = numbered_image(1)
        with pytest.raises(ValueError, match="cannot detect") as caught:
            detector.detect(image)
        reference = weakref.ref(image)
        error = caught.value
        frames_locals = error.__traceback__
        assert frames_locals is not None
        with pytest.raises(PartialBatchError):
            detector.detect_batch([image, image])
        del image, caught, error, frames_locals
        assert_dead(image=reference)


def test_t15_a_kept_error_does_not_keep_the_image_inside_the_detector() -> None:
    """`sys.last_value` of a notebook holds the last error, so it must not hold pixels."""
    copies: list[weakref.ref[Any]] = []

    def fail(images: Sequence[RGBImage]) -> list[DetectionResult]:
        tensor = images[0].copy()
        copies.append(weakref.ref(tensor))
        raise ValueError("cannot detect")

    with AsyncDetector(FakeDetector(behaviour=fail)) as detector:

        async def ask() -> BaseException | None:
            task = asyncio.ensure_future(detector.detect_async(numbered_image(1)))
            await asyncio.wait([task])
            return task.exception()

        error = asyncio.run(ask())
        assert isinstance(error, ValueError)
        assert_dead(**{f"tensor_{i}": ref for i, ref in enumerate(copies)})


def test_t15_a_cancelled_image_is_let_go_while_the_worker_is_busy() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    with AsyncDetector(FakeDetector(gates=gates), max_workers=1) as detector, gates:
        detector.submit(numbered_image(0))
        gates.at("in_detector").wait_for_arrivals(1)
        image = numbered_image(1)
        reference = weakref.ref(image)
        future = detector.submit(image)
        del image
        assert future.cancel()
        assert_dead(image=reference)


def test_t15_loops_that_closed_before_their_result_are_let_go() -> None:
    gates = Gates()
    detector = AsyncDetector(FakeDetector(gates=gates))
    with detector, engine_windows(gates):
        loop = asyncio.new_event_loop()
        gates.at("in_detector").close()
        task = loop.create_task(detector.detect_async(numbered_image(1)))
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        gates.at("in_detector").wait_for_arrivals(1)
        gates.open_all()
        gates.at("done").wait_for_arrivals(1)  # the result is on its way into the loop
        loop.close()
        reference, task_reference = weakref.ref(loop), weakref.ref(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # that is what is meant
        del loop, task
        assert_dead(task=task_reference, loop=reference)
        assert result_number(detector.detect(numbered_image(2))) == 2


def test_t15_a_forgotten_detector_warns_finishes_its_work_and_goes() -> None:
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    detector = AsyncDetector(fake, max_workers=1)
    futures = [detector.submit(numbered_image(n)) for n in range(5)]
    gates.at("in_detector").wait_for_arrivals(1)
    reference = weakref.ref(detector)
    with pytest.warns(ResourceWarning, match="never shut down"):
        del detector
        gc.collect()
    gates.open_all()
    assert [result_number(f.result(5)) for f in futures] == list(range(5))
    fake_reference = weakref.ref(fake)
    del fake, futures
    assert_dead(detector=reference, fake=fake_reference)


def test_t15_a_closed_detector_does_not_warn() -> None:
    detector = AsyncDetector(FakeDetector())
    detector.detect(numbered_image(1))
    detector.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del detector
        gc.collect()


# -- T16 ------------------------------------------------------------------------------------------


def num_threads() -> int:
    """Threads of this process, once those of the closed detectors had their moment to end."""
    deadline = time.monotonic() + GONE_BOUND_S
    while any(thread.name.startswith("detkit-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread outlives its detector"
        threading.Event().wait(0.001)
    # A thread that Python has forgotten is still the kernel's for an instant.
    counts = [-1]
    while len(counts) < 10 or len(set(counts[-10:])) > 1:
        assert time.monotonic() < deadline + GONE_BOUND_S
        threading.Event().wait(0.002)
        counts.append(len(list(Path("/proc/self/task").iterdir())))
    return counts[-1]


def num_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def growth_per_cycle(cycle: Callable[[], None]) -> tuple[float, int, int]:
    """Bytes that Python holds more per cycle, and the change in threads and descriptors."""
    for _ in range(5):
        cycle()
    with traced():
        cycle()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0], num_threads(), num_descriptors()
        for _ in range(NUM_CYCLES):
            cycle()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0], num_threads(), num_descriptors()
    return (after[0] - before[0]) / NUM_CYCLES, after[1] - before[1], after[2] - before[2]


def open_use_close(leak: list[RGBImage] | None = None) -> None:
    def keep(images: Sequence[RGBImage]) -> list[DetectionResult]:
        if leak is not None:
            leak.extend(image.copy() for image in images)
        return plain.detect_batch(images)

    plain = FakeDetector()
    images = [numbered_image(n, (48, 64)) for n in range(8)]
    fake = FakeDetector(behaviour=keep)
    with AsyncDetector(fake, max_workers=3, hang_timeout_s=30) as detector:
        detector.detect_batch(images)

        async def main() -> None:
            await detector.detect_batch_async(images)
            async for _ in detector.stream(iter(images)):
                pass
            await detector.aclose()

        asyncio.run(main())


def test_t16_opening_and_closing_leaves_nothing_behind() -> None:
    bytes_per_cycle, threads, descriptors = growth_per_cycle(open_use_close)
    assert (threads, descriptors) == (0, 0)
    assert bytes_per_cycle <= GROWTH_BOUND_BYTES


def test_t16_the_check_finds_a_detector_that_leaks() -> None:
    leak: list[RGBImage] = []
    bytes_per_cycle, _, _ = growth_per_cycle(lambda: open_use_close(leak))
    assert bytes_per_cycle > GROWTH_BOUND_BYTES
