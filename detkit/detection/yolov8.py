"""`YOLOv8Detector`: YOLOv8 and YOLO11 detection models, whatever library runs them.

Holds the public contract: arguments, loading, copies, closing. The arithmetic is in
`loaded_model.py`, the choice of a library in `runtimes/selection.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any

from detkit.detection.abstract import AbstractDetector, DetectionSettings
from detkit.detection.loaded_model import LoadedModel, Thresholds
from detkit.detection.model_files import find_model
from detkit.detection.runtimes.contract import LoadOptions, Precision, RuntimeName
from detkit.detection.runtimes.selection import open_runtime, runtimes_for
from detkit.errors import DetectorNotLoadedError
from detkit.images import RGBImage, validate_image
from detkit.results import DetectionResult


@dataclass(frozen=True, slots=True)
class _LoadArguments:
    """The arguments of `load_model`: all that a copy in another process needs."""

    model_path: str
    device: str
    runtime: RuntimeName
    precision: Precision
    trust_weights: bool
    num_threads: int | None
    confidence_threshold: float
    iou_threshold: float
    max_detections: int
    image_size: int | tuple[int, int] | None


class YOLOv8Detector(AbstractDetector):
    """A YOLOv8 or YOLO11 object detector; models of the same layout work as well.

    Every image is letterboxed to its own rectangle, so a result never depends on the other
    images of a batch. Calls from several threads wait for one another; for parallel work each
    thread takes a copy from `replicate`, which is what `AsyncDetector` does. A copy pickled to
    another process loads the model there again, from the same path.

    Example:
        >>> from detkit import YOLOv8Detector
        >>> detector = YOLOv8Detector()
        >>> detector
        YOLOv8Detector(not loaded)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: LoadedModel | None = None
        self._arguments: _LoadArguments | None = None

    def load_model(
        self,
        model_path: str | PathLike[str],
        device: str = "cpu",
        *,
        runtime: RuntimeName = "auto",
        precision: Precision = "auto",
        trust_weights: bool = False,
        num_threads: int | None = None,
        confidence_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
        image_size: int | tuple[int, int] | None = None,
    ) -> None:
        """Load a model and run it once. What was loaded before stays if this fails.

        Args:
            model_path: A `.pt` or `.onnx` file or the folder of an OpenVINO export. The bare
                name of an official detection model, such as "yolov8n.pt", that is not in the
                working folder is downloaded into the user's cache folder, unless
                `DETKIT_OFFLINE=1` is set.
            device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one
                that the library can use.
            runtime: The library that runs the network; "auto" takes the best for the file.
            precision: "fp32" is exact. "auto" takes bfloat16 on CPUs that have it natively,
                which nearly doubles speed and moves scores by about 0.01.
            trust_weights: Whether a `.pt` file may run code of its own while it is loaded.
                Only for files whose origin you trust.
            num_threads: Most CPU threads for one pass.
            confidence_threshold: Keep detections with a score of at least this, in [0, 1].
            iou_threshold: Overlap above which the weaker of two boxes is dropped, in [0, 1].
            max_detections: Most detections in one image.
            image_size: Longest side, or (height, width), in pixels that images are scaled to;
                the model's own by default.

        Raises:
            ModelNotFoundError: If there is no such file, or it could not be downloaded.
            ModelLoadError: If the file is damaged, hostile or no YOLO detection model, or the
                device, precision or library asked for is not there.
            UnsupportedSettingError: If a threshold lies outside its range.
        """
        thresholds = Thresholds(confidence_threshold, iou_threshold, max_detections)
        path, file_format = find_model(model_path)
        arguments = _LoadArguments(
            str(path),
            device,
            runtime,
            precision,
            trust_weights,
            num_threads,
            confidence_threshold,
            iou_threshold,
            max_detections,
            image_size,
        )
        options = LoadOptions(
            path, file_format, device, precision, trust_weights, num_threads, image_size
        )
        name = path.stem.removesuffix("_openvino_model")
        loaded = LoadedModel(open_runtime(options, runtime), name, thresholds)
        with self._lock:
            self._release()
            self._loaded, self._arguments = loaded, arguments

    def detect(
        self, image: RGBImage, *, settings: DetectionSettings | None = None
    ) -> DetectionResult:
        """Detect the objects in one image.

        Args:
            image: uint8 RGB of shape (H, W, 3); only read.
            settings: What this call asks for in place of the defaults. Never stored.

        Returns:
            Boxes in pixels of `image`, best first. The metadata holds `num_detections`,
            `image_hw`, `class_names`, `model` and `inference_ms`, the time of the network.

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
        return self._require().plan(image).input_hw

    def replicate(self) -> YOLOv8Detector:
        """An independent detector with the same model and defaults, loaded and warm.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
        """
        with self._lock:
            loaded = self._require()
            replica = type(self)()
            replica._arguments = self._arguments
            replica._loaded = LoadedModel(loaded.runtime.replicate(), loaded.name, loaded.defaults)
        return replica

    def reload(self, **changes: Any) -> YOLOv8Detector:
        """Another detector of the same file, loaded with some arguments changed.

        Args:
            **changes: Arguments of `load_model`, such as `precision="fp32"`; those not named stay
                as they were.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
            TypeError: If `load_model` has no such argument.
            ModelLoadError: If the file cannot be loaded in this way.
        """
        return _load_again(type(self), replace(self._loaded_with(), **changes))

    @property
    def runtimes(self) -> tuple[RuntimeName, ...]:
        """Names of the libraries that can load the file, the preferred one first.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
        """
        return runtimes_for(find_model(self._loaded_with().model_path)[1])

    def _loaded_with(self) -> _LoadArguments:
        with self._lock:
            self._require()
            assert self._arguments is not None, "what is loaded was loaded with arguments"
            return self._arguments

    def close(self) -> None:
        """Release the model's memory. Idempotent; `load_model` makes it usable again."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._loaded is not None:
            self._loaded.runtime.close()
        self._loaded = None
        self._arguments = None

    def _require(self) -> LoadedModel:
        if self._loaded is None:
            raise DetectorNotLoadedError("no model is loaded: call load_model(path) first")
        return self._loaded

    def __reduce__(self) -> tuple[object, ...]:
        return (_load_again, (type(self), self._arguments))

    def __repr__(self) -> str:
        loaded = self._loaded
        if loaded is None:
            return f"{type(self).__name__}(not loaded)"
        runtime = loaded.runtime
        return (
            f"{type(self).__name__}({loaded.name}: {len(loaded.class_names)} classes, "
            f"{runtime.library} {runtime.precision} on {runtime.device})"
        )


def _load_again(kind: type[YOLOv8Detector], arguments: _LoadArguments | None) -> YOLOv8Detector:
    detector = kind()
    if arguments is not None:
        detector.load_model(**asdict(arguments))
    return detector
