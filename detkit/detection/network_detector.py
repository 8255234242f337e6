"""`NetworkDetector`: detecting with one loaded network, whichever file and library it came from.

Owns what is done with a network once it is there: detecting, its threads, its end. The arithmetic
is in `loaded_model.py`. How a network is found, loaded and copied is for the subclass to know.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from detkit.detection.abstract import AbstractDetector, DetectionSettings
from detkit.detection.loaded_model import LoadedModel
from detkit.detection.opencv_threads import opencv_threads
from detkit.detection.threads import divide_threads
from detkit.errors import DetectorNotLoadedError
from detkit.images import RGBImage, validate_image
from detkit.results import DetectionResult


class NetworkDetector(AbstractDetector):
    """A detector round a `LoadedModel`, which the subclass puts in place in its `load_model`.

    Calls from several threads wait for one another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: LoadedModel | None = None
        self._thread_share: tuple[int, int] | None = None

    def detect(
        self, image: RGBImage, *, settings: DetectionSettings | None = None
    ) -> DetectionResult:
        """Detect the objects in one image.

        Args:
            image: uint8 RGB of shape (H, W, 3); only read.
            settings: What this call asks for in place of the defaults. Never stored.

        Returns:
            Boxes in pixels of `image`, best first. The metadata holds `num_detections`,
            `image_hw`, `class_names`, `model`, and where the time went: `preprocess_ms`,
            `inference_ms` (the network) and `postprocess_ms`, those of a batch shared out.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
            InvalidImageError: If `image` is anything else.
            InvalidResultError: If the network returned NaN or infinity.
            UnsupportedSettingError: If the model cannot honour `settings`.
            MemoryError: If memory ran out.
        """
        return self.detect_batch([image], settings=settings)[0]

    def detect_batch(
        self, images: Sequence[RGBImage], *, settings: DetectionSettings | None = None
    ) -> list[DetectionResult]:
        """Detect the objects in several images, of any sizes.

        On a CPU they pass the network one by one, which is faster there. On a GPU those with
        the same `batch_key` pass it together.

        Returns:
            One result per image, in input order. See `detect` for the rest.
        """
        checked = [validate_image(image) for image in images]
        with self._lock:
            return self._require().detect(checked, settings)

    @property
    def is_loaded(self) -> bool:
        """Whether `detect` can be called."""
        return self._loaded is not None

    @property
    def class_names(self) -> dict[int, str]:
        """Name of every class id; empty before `load_model`. Text from the model file."""
        return dict(self._loaded.class_names) if self._loaded else {}

    @property
    def model_name(self) -> str:
        """File name of the model without folder and suffix; empty before `load_model`."""
        return self._loaded.name if self._loaded else ""

    def batch_key(self, image: RGBImage) -> tuple[int, int]:
        """Height and width of the network's input for this image.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
        """
        return self._require().plan(image.shape[:2]).input_hw

    def scaled_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the image inside the network's input, without the padding.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
        """
        return self._require().plan(image_hw).scaled_hw

    def share_threads(self, num_threads: int, num_workers: int) -> None:
        """Keep to so many CPU threads, with all copies together, from the next call on.

        `AsyncDetector` calls this. A lone call takes all of them; calls that overlap, each on its
        own copy, divide them. What was told last holds. OpenCV, whose threads belong to the whole
        process, has the share of one worker while it works for us.

        Args:
            num_threads: For all copies together, at least 1.
            num_workers: How many copies there may be; more than threads share these.
        """
        self._thread_share = num_threads, num_workers
        opencv_threads.num_threads = divide_threads(num_threads, num_workers).threads_per_call
        loaded = self._loaded
        if loaded is not None:
            loaded.runtime.share_threads(num_threads, num_workers)

    def close(self) -> None:
        """Release the model's memory. Idempotent; `load_model` makes it usable again."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._loaded is not None:
            self._loaded.runtime.close()
        self._loaded = None

    def _require(self) -> LoadedModel:
        if self._loaded is None:
            raise DetectorNotLoadedError("no model is loaded: call load_model(path) first")
        return self._loaded

    def __repr__(self) -> str:
        loaded = self._loaded
        if loaded is None:
            return f"{type(self).__name__}(not loaded)"
        runtime = loaded.runtime
        return (
            f"{type(self).__name__}({loaded.name}: {len(loaded.class_names)} classes, "
            f"{runtime.library} {runtime.precision} on {runtime.device})"
        )
