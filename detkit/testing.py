"""A test kit for people who write detectors, and for detkit's own tests.

`FakeDetector` is a detector without a model: it reads a number from the pixels of an image that
`numbered_image` made, and can be told to fail, to run out of memory, to take its time, or to stop
at a gate. `check_detector` (in `detkit.check`) tells whether a real detector keeps its contract.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike

import numpy as np

from detkit.api import workers
from detkit.check import DetectorReport, check_detector
from detkit.detection.abstract import AbstractDetector, DetectionSettings
from detkit.images import RGBImage
from detkit.results import DetectionResult

__all__ = [
    "DetectorReport",
    "FakeDetector",
    "Gate",
    "Gates",
    "check_detector",
    "engine_windows",
    "image_number",
    "numbered_image",
    "numbered_result",
    "result_number",
]

# A gate that nobody opens must not hang a test run for ever.
_GATE_PATIENCE_S = 30.0


def numbered_image(number: int, hw: tuple[int, int] = (4, 4)) -> RGBImage:
    """An image whose first pixels hold `number`, which may be up to 2**24 - 1.

    Args:
        number: What `image_number` will read back.
        hw: Height and width in pixels.
    """
    image = np.zeros((*hw, 3), dtype=np.uint8)
    image[0, 0] = (number >> 16 & 255, number >> 8 & 255, number & 255)
    return image


def image_number(image: RGBImage) -> int:
    """The number that `numbered_image` put into an image."""
    red, green, blue = (int(value) for value in image[0, 0])
    return red << 16 | green << 8 | blue


def numbered_result(number: int, score: float = 1.0) -> DetectionResult:
    """What a `FakeDetector` answers to an image with this number; for a `behaviour` of your own."""
    return DetectionResult([[0, 0, number, 1]], [score], [0])


def result_number(result: DetectionResult) -> int:
    """The number of the image that a `FakeDetector` made this result from."""
    return int(result.boxes[0, 2])


class Gate:
    """A named place where threads pass, or stop while it is closed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_open = True
        self._num_arrived = 0
        self._num_let_through = 0

    def close(self) -> None:
        """From now on whoever arrives stops."""
        with self._changed:
            self._is_open = False

    def open(self) -> None:
        """Let everybody through."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def let_through(self, number: int = 1) -> None:
        """Let so many pass though it stays closed: those who stand there, or the next to come."""
        with self._changed:
            self._num_let_through += number
            self._changed.notify_all()

    def wait_for_arrivals(self, number: int = 1, timeout_s: float = _GATE_PATIENCE_S) -> None:
        """Block until `number` threads have arrived since the start.

        Raises:
            TimeoutError: If they have not after `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._num_arrived >= number, timeout_s):
                raise TimeoutError(f"{self._num_arrived} of {number} threads arrived at the gate")

    def pass_through(self) -> None:
        """Arrive, and go on when the gate is open.

        Raises:
            TimeoutError: If nobody opened it.
        """
        with self._changed:
            self._num_arrived += 1
            self._changed.notify_all()
            if not self._changed.wait_for(self._may_pass, _GATE_PATIENCE_S):
                raise TimeoutError("nobody opened the gate")
            if not self._is_open:
                self._num_let_through -= 1

    def _may_pass(self) -> bool:
        return self._is_open or self._num_let_through > 0


class Gates:
    """Gates by name; each exists, open, as soon as it is named.

    As a context manager it lets everybody through at the end, so that a test which fails while a
    gate is closed fails instead of hanging.
    """

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}
        self._lock = threading.Lock()

    def at(self, name: str) -> Gate:
        """The gate called `name`."""
        with self._lock:
            return self._gates.setdefault(name, Gate())

    def open_all(self) -> None:
        """Let everybody through everywhere."""
        with self._lock:
            gates = list(self._gates.values())
        for gate in gates:
            gate.open()

    def __enter__(self) -> Gates:
        return self

    def __exit__(self, *_: object) -> None:
        self.open_all()


@contextmanager
def engine_windows(gates: Gates) -> Iterator[Gates]:
    """Make every engine's workers pass the gates of the windows they enter.

    A batch enters, in order: "dequeued", for each call of the detector "assembling" (a caller who
    gives up here is still in time) and "calling", then "posting" and "done". A `FakeDetector`
    adds "in_detector".
    """
    workers.window_hook = lambda name: gates.at(name).pass_through()
    try:
        yield gates
    finally:
        workers.window_hook = None
        gates.open_all()


class FakeDetector(AbstractDetector):
    """A detector that answers with the number it reads from the image.

    The answer to a `numbered_image` is one box whose `x_max` is that number; `result_number`
    reads it. Replicas share everything with the original, so that one object tells what all of
    them did.

    Args:
        delay_s: How long one call takes, in seconds, whatever it is given.
        delay_per_image_s: And in addition for each image.
        serial: Whether calls of different replicas wait for one another, like those of programs
            that share one accelerator.
        behaviour: Called with the images of each call instead of the default answer; may return
            or raise anything.
        fail_on: Numbers of images that make a call raise `ValueError`.
        fits: Largest number of images that do not make a call raise `MemoryError`. None: any.
        can_replicate: Whether `replicate` gives a copy.
        thread_safe: What the attribute of that name says.
        gates: Where to look for the gate "in_detector", which every call passes.

    Example:
        >>> from detkit import AsyncDetector
        >>> with AsyncDetector(FakeDetector(fail_on={2})) as detector:
        ...     try:
        ...         detector.detect_batch([numbered_image(n) for n in range(4)])
        ...     except Exception as error:
        ...         print(error.successful, "of", error.total, [f.index for f in error.failures])
        3 of 4 [2]
    """

    model_name = "fake"

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        delay_per_image_s: float = 0.0,
        serial: bool = False,
        behaviour: Callable[[Sequence[RGBImage]], object] | None = None,
        fail_on: set[int] | frozenset[int] = frozenset(),
        fits: int | None = None,
        can_replicate: bool = True,
        thread_safe: bool = False,
        gates: Gates | None = None,
    ) -> None:
        self.delay_s = delay_s
        self.delay_per_image_s = delay_per_image_s
        self.behaviour = behaviour
        self.fail_on = fail_on
        self.fits = fits
        self.can_replicate = can_replicate
        self.thread_safe = thread_safe
        self.gates = gates or Gates()
        self.is_ready = True
        self.class_names = {0: "number"}
        self.batch_sizes: list[int] = []
        self.seen: Counter[int] = Counter()
        self.num_replicas = 1
        self._original = self
        self._lock = threading.Lock()
        self._device = threading.Lock() if serial else None

    @property
    def is_loaded(self) -> bool:
        """Whatever `is_ready` of the original says."""
        return self._original.is_ready

    def load_model(self, model_path: str | PathLike[str], device: str = "cpu") -> None:
        """Nothing is loaded; `is_loaded` becomes true."""
        self._original.is_ready = True

    def replicate(self) -> FakeDetector | None:
        """A copy that shares everything with the original, if `can_replicate`."""
        original = self._original
        if not original.can_replicate:
            return None
        copy = object.__new__(FakeDetector)
        copy._original = original
        copy.thread_safe = original.thread_safe
        with original._lock:
            original.num_replicas += 1
        return copy

    def detect(
        self, image: RGBImage, *, settings: DetectionSettings | None = None
    ) -> DetectionResult:
        """The number in the image, as the `x_max` of a box."""
        return self.detect_batch([image], settings=settings)[0]

    def detect_batch(
        self, images: Sequence[RGBImage], *, settings: DetectionSettings | None = None
    ) -> list[DetectionResult]:
        """The same for several images, with everything that the constructor was told."""
        original = self._original
        numbers = [image_number(image) for image in images]
        with original._lock:
            original.batch_sizes.append(len(images))
            original.seen.update(numbers)
        original.gates.at("in_detector").pass_through()
        original._take_time(len(images))
        if original.behaviour is not None:
            return original.behaviour(images)  # type: ignore[return-value]  # that is its point
        if original.fits is not None and len(images) > original.fits:
            raise MemoryError(f"{len(images)} images do not fit")
        poison = original.fail_on.intersection(numbers)
        if poison:
            raise ValueError(f"told to fail on {sorted(poison)}")
        asked = settings.confidence_threshold if settings is not None else None
        score = 1.0 if asked is None else asked  # so that a test sees whose settings were used
        return [numbered_result(number, score) for number in numbers]

    def _take_time(self, num_images: int) -> None:
        duration_s = self.delay_s + self.delay_per_image_s * num_images
        if duration_s <= 0:
            return
        if self._device is None:
            _wait(duration_s)
            return
        with self._device:
            _wait(duration_s)


def _wait(duration_s: float) -> None:
    """Wait as an accelerator does: long stretches asleep, the last one exactly."""
    end = time.perf_counter() + duration_s
    while (left := end - time.perf_counter()) > 0:
        threading.Event().wait(left)
