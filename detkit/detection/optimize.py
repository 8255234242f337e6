"""A faster copy of a loaded model, judged on the user's own images before it is kept.

Owns the split of the images, the order in which recipes are tried, and the measuring of speed.
Knows runtimes and results; how a network is quantized is in `quantize.py`, where it is kept in
`optimized_models.py`.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import import_nncf, import_openvino
from detkit.detection.loaded_model import LoadedModel
from detkit.detection.openvino_file import write_metadata
from detkit.detection.optimization_report import Fidelity, OptimizationReport, compare
from detkit.detection.optimized_models import Target
from detkit.detection.preprocess import fill_letterbox
from detkit.detection.quantize import RECIPES, Recipe, quantize, read_network
from detkit.detection.runtimes import openvino
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.errors import (
    AccuracyLossError,
    InvalidImageError,
    OptimizationError,
    UnsupportedSettingError,
    describe,
)
from detkit.image_files import decode_image
from detkit.images import RGBImage, validate_image
from detkit.progress import NoProgress, Progress, shown_if
from detkit.results import DetectionResult

ImageOrPath: TypeAlias = "RGBImage | str | os.PathLike[str]"
_Entry: TypeAlias = "tuple[int, ImageOrPath]"
_Batch: TypeAlias = npt.NDArray[np.uint8]

# One image in four judges, the others calibrate. Of fewer than these a single box would decide.
MIN_IMAGES = 16
_HELD_OUT = 4
# NNCF's own default; more change nothing. One takes 0.7 MB at 384 x 640.
_MAX_CALIBRATION = 300
_MAX_HELD_OUT = 200
_ROUNDS = 15


def optimize(
    loaded: LoadedModel,
    options: LoadOptions,
    images: Iterable[ImageOrPath],
    out: str | os.PathLike[str] | None,
    min_f1: float,
    *,
    progress: bool = False,
) -> OptimizationReport:
    """Try the recipes, the fastest first, until one agrees well enough; keep that one.

    Args:
        loaded: The model, which stays as it is. Used by nobody else meanwhile.
        options: How it was loaded.
        images: uint8 RGB arrays or paths of image files.
        out: Folder for the result; `None` for the cache.
        min_f1: Smallest F1 beside float32 that is good enough.
        progress: Whether to show a bar.

    Raises:
        OptimizationError: See `YOLOv8Detector.optimize`, also for what follows.
        InvalidImageError: If an image is no image.
        UnsupportedSettingError: If `min_f1` is out of range.
    """
    if not 0 <= min_f1 <= 1:
        raise UnsupportedSettingError(f"min_f1 must lie in [0, 1], got {min_f1!r}")
    target = Target(options.path, out)
    # Of a checkpoint, what it was converted to.
    options = replace(options, path=_able(loaded).source)
    calibration, held_out = _divided(images)
    # Each calibrates or judges once beside the first look at it.
    with shown_if(progress, 2 * (len(calibration) + len(held_out))) as bar:
        return _optimize(loaded, options, calibration, held_out, target, min_f1, bar)


def _optimize(
    loaded: LoadedModel,
    options: LoadOptions,
    calibration: Sequence[_Entry],
    held_out: Sequence[_Entry],
    target: Target,
    min_f1: float,
    bar: Progress | NoProgress,
) -> OptimizationReport:
    options.tell(f"preparing {len(calibration) + len(held_out)} images for {loaded.name}")
    batches = [_letterboxed(loaded, *entry) for entry in _ticked(calibration, bar)]
    truth = _detect(loaded, replace(options, precision="fp32"), _ticked(held_out, bar))
    if not any(len(result) for result in truth):
        raise OptimizationError(
            f"the model finds nothing in the {len(held_out)} images that are held out to judge "
            "int8: give images with objects, or load it with a lower confidence_threshold"
        )
    with tempfile.TemporaryDirectory(prefix="detkit-", ignore_cleanup_errors=True) as scratch:
        attempts = _attempts(loaded, options, batches, Path(scratch), len(held_out), bar)
        best = _first_good(loaded, attempts, held_out, truth, min_f1, bar)
        before_ms, after_ms, input_hw = _speed(loaded.runtime, best.made, batches)
        report = OptimizationReport(
            model=loaded.name,
            precision="int8",
            path=None,
            kept=best.recipe.kept,
            num_calibration=len(batches),
            num_held_out=len(held_out),
            min_f1=min_f1,
            fidelity=best.fidelity,
            baseline=loaded.runtime.precision,
            before_ms=before_ms,
            after_ms=after_ms,
            input_hw=input_hw,
        )
        if best.fidelity.f1 < min_f1:
            raise AccuracyLossError(_refusal(report), report)
        return replace(report, path=target.keep(best.made.path.parent))


class _Attempt(NamedTuple):
    recipe: Recipe
    made: LoadOptions
    fidelity: Fidelity


def _able(loaded: LoadedModel) -> openvino.OpenVinoRuntime:
    """The runtime of a model that can be optimised here."""
    runtime = loaded.runtime
    if not isinstance(runtime, openvino.OpenVinoRuntime):
        raise OptimizationError(
            f"{loaded.name} runs with {runtime.library} on {runtime.device}, and only a model that "
            "runs with OpenVINO can be optimised: load it with device='cpu', runtime='openvino'"
        )
    if runtime.precision == "int8":
        raise OptimizationError(f"{loaded.name} computes in int8 already")
    if runtime.facts.layout != "anchors":
        raise OptimizationError(
            f"{loaded.name} has its suppression built in, which int8 would disturb"
        )
    try:
        import_nncf()
    except ImportError as error:
        raise OptimizationError(
            f"int8 needs NNCF, which cannot be imported here ({describe(error, 80)}): "
            'pip install "detkit[int8]"'
        ) from error
    return runtime


def _divided(images: Iterable[ImageOrPath]) -> tuple[list[_Entry], list[_Entry]]:
    """Images to calibrate with, and images to judge by, each with its position."""
    given = list(enumerate(images))
    if len(given) < MIN_IMAGES:
        raise OptimizationError(
            f"{len(given)} images are too few: give at least {MIN_IMAGES}, better some hundreds, "
            "that look like those the model will see"
        )
    others = [entry for entry in given if entry[0] % _HELD_OUT != _HELD_OUT - 1]
    held_out = given[_HELD_OUT - 1 :: _HELD_OUT]
    return _spread(others, _MAX_CALIBRATION), _spread(held_out, _MAX_HELD_OUT)


def _spread(entries: Sequence[_Entry], most: int) -> list[_Entry]:
    """At most so many entries, evenly from all of them."""
    if len(entries) <= most:
        return list(entries)
    return [entries[i * len(entries) // most] for i in range(most)]


def _pixels(index: int, image: ImageOrPath) -> RGBImage:
    if isinstance(image, (str, os.PathLike)):
        return decode_image(image)
    try:
        return validate_image(image)
    except InvalidImageError as error:
        raise InvalidImageError(f"image {index}: {error}") from error


def _name(index: int, image: ImageOrPath) -> str:
    return os.fsdecode(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def _letterboxed(loaded: LoadedModel, index: int, image: ImageOrPath) -> _Batch:
    pixels = _pixels(index, image)
    plan = loaded.plan(pixels.shape[:2])
    batch = np.empty((1, *plan.input_hw, 3), dtype=np.uint8)
    fill_letterbox(pixels, plan, batch[0])
    return batch


def _detect(
    loaded: LoadedModel, options: LoadOptions, images: Iterable[_Entry]
) -> list[DetectionResult]:
    """What a network finds with the thresholds of the loaded model."""
    with closing(openvino.open_runtime(options)) as runtime:
        model = LoadedModel(runtime, loaded.name, loaded.defaults)
        return [model.detect([_pixels(*entry)], None)[0] for entry in images]


def _first_good(
    loaded: LoadedModel,
    attempts: Iterable[tuple[Recipe, LoadOptions]],
    held_out: Sequence[_Entry],
    truth: Sequence[DetectionResult],
    min_f1: float,
    bar: Progress | NoProgress,
) -> _Attempt:
    """The first attempt that agrees well enough; the best where none does."""
    names = [(index, _name(index, image)) for index, image in held_out]
    judged: list[_Attempt] = []
    for recipe, made in attempts:
        found = _detect(loaded, made, _ticked(held_out, bar))
        fidelity = compare(names, truth, found)
        judged.append(_Attempt(recipe, made, fidelity))
        if fidelity.f1 >= min_f1:
            break
    return max(judged, key=lambda attempt: attempt.fidelity.f1)


def _ticked(entries: Iterable[_Entry], bar: Progress | NoProgress) -> Iterator[_Entry]:
    """The same entries; each is counted when the next one is asked for."""
    for entry in entries:
        yield entry
        bar.add(failed=False)


def _attempts(
    loaded: LoadedModel,
    options: LoadOptions,
    batches: Sequence[_Batch],
    scratch: Path,
    num_judged: int,
    bar: Progress | NoProgress,
) -> Iterator[tuple[Recipe, LoadOptions]]:
    """Networks made by one recipe after another, and how each is loaded."""
    facts = loaded.runtime.facts
    try:
        network = read_network(options.path)
        for number, recipe in enumerate(RECIPES, 1):
            options.tell(
                f"calibrating {loaded.name} on {len(batches)} images, "
                f"way {number} of at most {len(RECIPES)}"
            )
            if number > 1:
                bar.expect(len(batches) + num_judged)
            folder = scratch / str(number)
            folder.mkdir()
            path = folder / f"{loaded.name}.xml"
            quantized = quantize(network, batches, recipe)
            for _ in batches:  # all at once: NNCF does not tell how far it is
                bar.add(failed=False)
            import_openvino().save_model(quantized, path, compress_to_fp16=False)
            write_metadata(facts, folder, precision="int8")
            yield recipe, replace(options, path=path, precision="int8")
    # NNCF raises nearly anything for a network that it does not know.
    except Exception as error:
        raise OptimizationError(f"{loaded.name} cannot be quantized: {describe(error)}") from error


def _speed(
    before: Runtime, options: LoadOptions, batches: Sequence[_Batch]
) -> tuple[float, float, tuple[int, int]]:
    """Milliseconds of both networks at the most usual input size, and that size.

    Medians of turns, so that a busy machine hits both.
    """
    height, width = statistics.mode(batch.shape[1:3] for batch in batches)
    batch = next(batch for batch in batches if batch.shape[1:3] == (height, width))
    took_ms: tuple[list[float], list[float]] = ([], [])
    with closing(openvino.open_runtime(options)) as after:
        for _ in range(_ROUNDS):
            for runtime, times in zip((before, after), took_ms, strict=True):
                runtime.infer(batch)  # fills the caches that the other one has emptied
                started = time.perf_counter()
                runtime.infer(batch)
                times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(took_ms[0]), statistics.median(took_ms[1]), (height, width)


def _refusal(report: OptimizationReport) -> str:
    fidelity = report.fidelity
    return (
        f"{report.model} in int8 agrees with float32 at F1 {fidelity.f1:.3f}, less than "
        f"min_f1={report.min_f1:g}, on {report.num_held_out} held-out images with "
        f"{fidelity.num_boxes} boxes; it was not kept. Give more images (some hundreds) that look "
        "like those the model will see, pass a lower min_f1 if that is good enough, or stay with "
        f"{report.baseline}. The error's report holds the worst images"
    )
