"""Every error detkit raises, as one tree.

    DetkitError
    ├── InvalidImageError (ValueError)          not a uint8 RGB (H, W, 3) array
    │   └── ImageDecodeError (OSError)          a file that is no readable image
    ├── InvalidResultError (ValueError)         boxes, scores or classes that make no sense
    ├── UnsupportedSettingError (ValueError)    a setting this detector cannot honour
    ├── ModelLoadError (RuntimeError)           weights missing, corrupt, hostile or of a wrong kind
    │   └── ModelNotFoundError (FileNotFoundError)
    ├── OptimizationError (RuntimeError)        a model that cannot be made faster here
    │   └── AccuracyLossError                   it can, but would find other things
    ├── DetectorNotLoadedError (RuntimeError)   detect before load_model
    ├── DetectorContractError (RuntimeError)    a detector broke the rules of AbstractDetector
    ├── OutOfMemoryError (MemoryError)          not even one image fits
    ├── DetectorClosed (RuntimeError)           used after shutdown
    │   └── ForkedDetectorError                 used in a forked child process
    ├── ReentrantCallError (RuntimeError)       a detector waits for the worker it runs on
    ├── QueueFullError (RuntimeError)           overflow="reject"
    ├── DroppedError (RuntimeError)             overflow="drop_oldest"
    ├── DetectionTimeoutError (TimeoutError)    timeout_s passed
    │   └── WorkerHungError                     hang_timeout_s passed inside the detector
    ├── WorkerDiedError (RuntimeError)          the detector raised SystemExit or the like
    ├── CircuitOpenError (RuntimeError)         too many workers died in a short time
    ├── PartialBatchError                       some images of a batch failed
    ├── VideoError
    │   ├── VideoOpenError (OSError)            a source that cannot be opened
    │   ├── StreamLostError (ConnectionError)   a live source that broke off and stays away
    │   └── VideoWriteError (OSError)           a file that cannot be written
    ├── SourceError (ValueError)                a source that is nothing detkit can read
    └── MissingPackageError (ImportError)       an optional package is needed and not installed

Each is also a subclass of the built-in named beside it, so that code which knows nothing
of detkit catches the right thing. This file knows nothing of engines, models or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from detkit.stored_text import storable

if TYPE_CHECKING:
    from detkit.results import DetectionResult

Stage = Literal["validate", "decode", "queue", "detect"]


class DetkitError(Exception):
    """The root of every error that detkit raises on purpose."""


class InvalidImageError(DetkitError, ValueError):
    """The input is not a uint8 RGB array of shape (H, W, 3)."""


class ImageDecodeError(InvalidImageError, OSError):
    """A file could not be read as an image, or is too large to be decoded safely."""


class InvalidResultError(DetkitError, ValueError):
    """Boxes, scores, classes or metadata do not form a valid detection result."""


class UnsupportedSettingError(DetkitError, ValueError):
    """A per-call setting was given that this detector cannot honour."""


class ModelLoadError(DetkitError, RuntimeError):
    """Weights could not be loaded: corrupt, hostile, or of the wrong kind."""


class ModelNotFoundError(ModelLoadError, FileNotFoundError):
    """There is no file at the path given, and none could be fetched."""


class OptimizationError(DetkitError, RuntimeError):
    """A model could not be optimised: wrong runtime, too few images, a library missing."""


class AccuracyLossError(OptimizationError):
    """An optimised model agrees too little with the one it was made from; it was not kept.

    Attributes:
        report: The `OptimizationReport`, with the images on which they disagree most.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[object, ...]:
        return (AccuracyLossError, (*self.args, self.report))


class DetectorNotLoadedError(DetkitError, RuntimeError):
    """`detect` was called before `load_model`."""


class DetectorContractError(DetkitError, RuntimeError):
    """A detector returned or raised something that `AbstractDetector` forbids."""


class OutOfMemoryError(DetkitError, MemoryError):
    """The detector ran out of memory on a single image."""


class DetectorClosed(DetkitError, RuntimeError):  # noqa: N818  the public name is fixed
    """The detector has been shut down."""


class ForkedDetectorError(DetectorClosed):
    """The detector was made in a parent process; its threads do not exist in a forked child."""


class ReentrantCallError(DetkitError, RuntimeError):
    """A detector called, and would wait for, the very engine whose worker it runs on."""


class QueueFullError(DetkitError, RuntimeError):
    """The queue was full and `overflow="reject"` was declared."""


class DroppedError(DetkitError, RuntimeError):
    """A newer image took this one's place: `overflow="drop_oldest"` was declared."""


class DetectionTimeoutError(DetkitError, TimeoutError):
    """The result was not there within `timeout_s`."""


class WorkerHungError(DetectionTimeoutError):
    """The detector did not return within `hang_timeout_s`; its worker was replaced.

    The message ends with the Python stack of the stuck worker.
    """


class WorkerDiedError(DetkitError, RuntimeError):
    """The detector raised SystemExit, KeyboardInterrupt or another non-Exception."""


class CircuitOpenError(DetkitError, RuntimeError):
    """Too many workers died or hung in a short time, so new work is refused for a while."""


class VideoError(DetkitError):
    """Something about a video or live source went wrong."""


class VideoOpenError(VideoError, OSError):
    """A video, camera or stream could not be opened."""


class StreamLostError(VideoError, ConnectionError):
    """A live source broke off and could not be opened again."""


class VideoWriteError(VideoError, OSError):
    """A video or result file could not be written."""


class SourceError(DetkitError, ValueError):
    """The given source is nothing that detkit knows how to read."""


class MissingPackageError(DetkitError, ImportError):
    """Something was asked for that needs a package which is not installed."""


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """One image of a batch that has no result.

    Attributes:
        index: Position of the image in the input, from 0.
        stage: Where it failed: "validate" (not a usable array), "decode" (not a readable
            file), "queue" (time-out, cancelled, dropped or shut down before the detector
            saw it) or "detect" (the detector itself).
        exception: The error, as `detect_async` would have raised it.
        source: Name of the file or stream it came from, when known.
    """

    index: int
    stage: Stage
    exception: BaseException
    source: str | None = None

    def __repr__(self) -> str:
        where = f"#{self.index}" if self.source is None else f"#{self.index} {self.source!r}"
        return f"<ItemFailure {where} at {self.stage}: {describe(self.exception)}>"


class PartialBatchError(DetkitError):
    """Some images of a batch failed; the results of all the others are here.

    Attributes:
        message: The error message.
        successful: Number of images that have a result.
        total: Number of images given.
        results: The successes, in input order.
        failures: One `ItemFailure` per failed image, in input order.
        outcomes: One entry per image given, in input order: its result or its failure.
    """

    def __init__(
        self,
        message: str,
        successful: int,
        total: int,
        results: Sequence[DetectionResult],
        failures: Sequence[ItemFailure] = (),
        *,
        outcomes: Sequence[DetectionResult | ItemFailure] | None = None,
        retry: Callable[[], list[DetectionResult]] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.successful = successful
        self.total = total
        self.results = list(results)
        self.failures = tuple(failures)
        self.outcomes = tuple(outcomes) if outcomes is not None else (*results, *failures)
        self._retry = retry

    def __reduce__(self) -> tuple[object, ...]:
        # The retry closure holds images and an engine: neither crosses a process border.
        arguments = (self.message, self.successful, self.total, self.results, self.failures)
        return (_rebuild_partial_batch_error, (*arguments, self.outcomes))

    def retry(self) -> list[DetectionResult]:
        """Detect the failed images once more.

        Returns:
            One result per image of the original input, in input order: the successes that
            were already there and the new ones.

        Raises:
            PartialBatchError: If some images failed again; it holds everything so far.
            DetkitError: If this error was copied to another process, where the images are not.
        """
        if self._retry is None:
            raise DetkitError("this PartialBatchError holds no images to retry")
        return self._retry()


def _rebuild_partial_batch_error(
    message: str,
    successful: int,
    total: int,
    results: list[DetectionResult],
    failures: tuple[ItemFailure, ...],
    outcomes: tuple[DetectionResult | ItemFailure, ...],
) -> PartialBatchError:
    return PartialBatchError(message, successful, total, results, failures, outcomes=outcomes)


def describe(exception: BaseException, limit: int = 200) -> str:
    """One line that names an exception, at most about `limit` characters long."""
    try:
        text = storable(" ".join(str(exception).split()))
    except Exception:  # noqa: BLE001  a stranger's error may not even tell its message
        text = "its message cannot be read"
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__
