"""`YOLOv8Detector`: YOLOv8 and YOLO11 detection models, whatever library runs them.

Owns how a model is loaded: arguments, copies, other ways to load it. What is done with it then is
in `network_detector.py`, the choice of a library in `runtimes/selection.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from detkit.detection.load_arguments import LoadArguments, other_ways
from detkit.detection.loaded_model import LoadedModel, Thresholds
from detkit.detection.model_files import find_model
from detkit.detection.network_detector import NetworkDetector
from detkit.detection.optimized_models import find_optimized
from detkit.detection.runtimes.contract import LoadOptions, Precision, RuntimeName
from detkit.detection.runtimes.selection import open_runtime, runtimes_for
from detkit.errors import UnsupportedSettingError
from detkit.threads import call_apart

if TYPE_CHECKING:
    from detkit.detection.optimization_report import OptimizationReport
    from detkit.detection.optimize import ImageOrPath


class YOLOv8Detector(NetworkDetector):
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
        super().__init__()
        self._arguments: LoadArguments | None = None
        # What the first of a row of `reload` was allowed to choose; None: no more than this one.
        self._allowed: LoadArguments | None = None

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
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Load a model and run it once. What was loaded before stays if this fails.

        The first load of a `.pt` file on a CPU converts it for OpenVINO, which takes some seconds
        and is kept in the user's cache folder (`DETKIT_CACHE_DIR`); `runtime="ultralytics"` runs
        the file with torch as it is, at a third of the speed. An interrupt, such as a notebook's
        Stop button, ends the call at once; what it was at goes on and is found by the next one.

        Args:
            model_path: A `.pt` or `.onnx` file or the folder of an OpenVINO export. The bare
                name of an official detection model, such as "yolov8n.pt", that is not in the
                working folder is downloaded into the user's cache folder, unless
                `DETKIT_OFFLINE=1` is set.
            device: "cpu", "cuda", "cuda:1", "mps" or "auto", which takes a GPU if there is one
                that the library can use.
            runtime: The library that runs the network: "openvino", "onnxruntime" or "ultralytics",
                which stands for torch. "auto" takes the fastest for the file and device.
            precision: "fp32" is exact. "auto" takes bfloat16 on CPUs that have it natively,
                which nearly doubles speed and moves scores by about 0.01. "int8" takes what
                `optimize` made of this model.
            trust_weights: Whether a `.pt` file may run code of its own while it is loaded, and a
                `.torchscript` or `.engine` file at all. Only for files whose origin you trust.
            num_threads: Most CPU threads, of this detector and its copies together; all that the
                process may use by default.
            confidence_threshold: Keep detections with a score of at least this, in [0, 1].
            iou_threshold: Overlap above which the weaker of two boxes is dropped, in [0, 1].
            max_detections: Most detections in one image.
            image_size: Longest side, or (height, width), in pixels that images are scaled to;
                the model's own by default.
            on_progress: Told in a few words what is going to take long, such as a conversion; on
                a thread of its own.

        Raises:
            ModelNotFoundError: If there is no such file, or it could not be downloaded.
            ModelLoadError: If the file is damaged, hostile or no YOLO detection model, or the
                device, precision or library asked for is not there.
            UnsupportedSettingError: If a threshold lies outside its range.
        """
        thresholds = Thresholds(confidence_threshold, iou_threshold, max_detections)
        path, file_format = call_apart(partial(find_model, model_path))
        arguments = LoadArguments(
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
        optimized = find_optimized(path) if precision == "int8" else None
        options = LoadOptions(
            optimized or path,
            "openvino" if optimized else file_format,
            device,
            precision,
            trust_weights,
            num_threads,
            image_size,
            on_progress,
        )
        name = path.stem.removesuffix("_openvino_model")
        opened = call_apart(partial(open_runtime, options, runtime))
        loaded = LoadedModel(opened, name, thresholds)
        with self._lock:
            self._release()
            self._loaded, self._arguments, self._allowed = loaded, arguments, None
        if self._thread_share is not None:
            told, num_workers = self._thread_share
            loaded.runtime.share_threads(num_threads or told, num_workers)

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

    def optimize(
        self,
        images: Iterable[ImageOrPath],
        precision: Literal["int8"] = "int8",
        *,
        out: str | PathLike[str] | None = None,
        min_f1: float = 0.95,
        on_progress: Callable[[str], None] | None = None,
        progress: bool = False,
    ) -> OptimizationReport:
        """Make a faster copy of the loaded model that computes in int8, and measure it.

        Three images of four calibrate it, the fourth is held out to compare it with float32. The
        accuracy-sensitive end of the network keeps its precision, as much of it as that takes.
        Takes a minute or so, and `detkit[int8]`. This detector stays as it is: load the copy with
        `load_model(report.path)`, or from the cache with `load_model(model_path,
        precision="int8")`. How much it gains depends on the processor; the report tells.

        Args:
            images: uint8 RGB arrays or paths of image files, at least 16 and better some hundreds,
                such as the model will see; of a video, frames that differ.
            precision: "int8".
            out: A folder for the copy; by default the cache, which forgets what lies unused.
            min_f1: Smallest agreement with float32, F1 of boxes that overlap by half, with which
                the copy is kept.
            on_progress: Told in a few words what is being done.
            progress: Whether to show a bar: images that were prepared, calibrated with and judged,
                how many each second, and the time left if the first way is good enough.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
            AccuracyLossError: If the copy agrees less than `min_f1`. It holds the report.
            OptimizationError: If the model does not run with OpenVINO, the package is missing,
                images are too few or hold nothing, or `out` cannot be used.
            InvalidImageError: If an image is no image.
            UnsupportedSettingError: If `precision` or `min_f1` is out of range.
        """
        if precision != "int8":
            raise UnsupportedSettingError(f"precision must be 'int8', got {precision!r}")
        with closing(self.replicate()) as copy:
            loaded, arguments = copy._require(), copy._arguments
            assert arguments is not None  # it goes with the model
            options = LoadOptions(
                Path(arguments.model_path),
                "openvino",
                num_threads=arguments.num_threads,
                image_size=arguments.image_size,
                on_progress=on_progress,
            )
            # It reads image files, with a library that an import of detkit does not load.
            from detkit.detection.optimize import optimize

            return optimize(loaded, options, images, out, min_f1, progress=progress)

    def load_choices(self, num_threads: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Other ways to load this model here that differ in speed: arguments of `reload`.

        What was asked for by name stays as it is: a library or precision other than "auto", a
        number of threads. So no choice is less exact than what `load_model` was allowed to take.

        Args:
            num_threads: Numbers of threads to try beside what the library takes by itself; left
                out on a GPU.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
        """
        runtime, given = self._require().runtime, self._allowed or self._arguments
        assert given is not None, "what is loaded was loaded with arguments"
        on_cpu = runtime.device == "cpu"
        return other_ways(given, runtime.library, runtime.precision, num_threads, on_cpu=on_cpu)

    @property
    def runtimes(self) -> tuple[RuntimeName, ...]:
        """Names of the libraries that can load the file, the preferred one first.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
        """
        self._require()
        assert self._arguments is not None, "what is loaded was loaded with arguments"
        return runtimes_for(find_model(self._arguments.model_path)[1])

    def reload(
        self,
        *,
        runtime: RuntimeName | None = None,
        precision: Precision | None = None,
        num_threads: int | None = None,
        image_size: int | tuple[int, int] | None = None,
    ) -> YOLOv8Detector:
        """Another detector with the same model and defaults, loaded in another way.

        Args:
            runtime: As `load_model`; None keeps what this detector was loaded with.
            precision: Likewise.
            num_threads: Likewise.
            image_size: Likewise.

        Raises:
            DetectorNotLoadedError: Before `load_model` and after `close`.
            ModelLoadError: As `load_model`.
        """
        self._require()
        assert self._arguments is not None, "what is loaded was loaded with arguments"
        asked = {
            "runtime": runtime,
            "precision": precision,
            "num_threads": num_threads,
            "image_size": image_size,
        }
        changes = {name: value for name, value in asked.items() if value is not None}
        other = type(self)()
        other.load_model(**{**asdict(self._arguments), **changes})
        other._allowed = self._allowed or self._arguments
        return other

    @property
    def model_path(self) -> Path | None:
        """The file or folder that was loaded; `None` before `load_model` and after `close`."""
        return Path(self._arguments.model_path) if self._arguments else None

    @property
    def num_threads(self) -> int | None:
        """Most CPU threads that `load_model` was told to use; `None` for all."""
        return self._arguments.num_threads if self._arguments else None

    def _release(self) -> None:
        super()._release()
        self._arguments = self._allowed = None

    def __reduce__(self) -> tuple[object, ...]:
        return (_load_again, (type(self), self._arguments))


def _load_again(kind: type[YOLOv8Detector], arguments: LoadArguments | None) -> YOLOv8Detector:
    detector = kind()
    if arguments is not None:
        detector.load_model(**asdict(arguments))
    return detector
