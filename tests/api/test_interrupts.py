"""T22: an interrupt of one caller leaves no other caller waiting for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import pytest
from interrupts import BEYOND, Moments

from detkit import AsyncDetector, DetectionResult
from detkit.errors import DetectionTimeoutError, DetectorClosed, DroppedError
from detkit.testing import FakeDetector, Gates, numbered_image, result_number


class Scene:
    """A busy detector and two callers with images in it; a third will be interrupted."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.gates.at("in_detector").close()
        self.detector = AsyncDetector(
            FakeDetector(gates=self.gates),
            max_workers=1,
            default_batch_size=2,
            max_queue_size=4,
            overflow="drop_oldest",
        )
        self.others = [self.submit(0)]
        self.gates.at("in_detector").wait_for_arrivals(1)
        self.others += [self.submit(n) for n in (1, 2, 3, 4)]
        self.others[2].cancel()  # of whom nobody need be told
        self.items = self.detector._engine.batcher.everything()

    def submit(self, number: int) -> Future[DetectionResult]:
        return self.detector.submit(numbered_image(number))

    def sweep(self) -> None:
        self.detector.shutdown(wait=False, cancel_pending=True)

    def run_out_of_patience(self) -> None:
        self.detector.shutdown(timeout_s=0)

    def drop(self) -> None:
        for number in (10, 11, 12):
            self.submit(number)

    def expire(self) -> None:
        self.detector._engine.ledger.expire(self.items, 1.0)

    def end(self) -> None:
        """Every image has its outcome, once, and the books are right."""
        self.gates.open_all()
        self.detector.shutdown()
        for number, future in enumerate(self.others):
            assert future.done(), f"image {number} has no outcome"
            if future.cancelled():
                continue
            error = future.exception(0)
            if error is None:
                assert result_number(future.result(0)) == number
            else:
                assert isinstance(error, (DetectorClosed, DroppedError, DetectionTimeoutError))
        stats = self.detector.statistics()
        assert (stats.queue_depth, stats.blocked, stats.running, stats.workers) == (0, 0, 0, 0)


def interrupted(act: Callable[[Scene], None], nth: int) -> int:
    scene, moments = Scene(), Moments()
    with scene.gates:
        try:
            with moments.interrupt_at(nth):
                act(scene)
        except KeyboardInterrupt:
            assert nth < BEYOND
        scene.end()
    return moments.num_passed


@pytest.mark.watchdog(60)
@pytest.mark.parametrize(
    "act",
    [Scene.sweep, Scene.run_out_of_patience, Scene.drop, Scene.expire],
    ids=lambda f: f.__name__,
)
def test_t22_an_interrupt_at_any_moment_leaves_no_other_caller_untold(
    act: Callable[[Scene], None],
) -> None:
    num_moments = interrupted(act, BEYOND)
    assert num_moments > 20
    for nth in range(1, num_moments + 1):
        interrupted(act, nth)
