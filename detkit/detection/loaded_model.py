"""A loaded network with its letterbox before and its suppression after it.

Belongs to one detector; one thread at a time. Knows the runtime's contract, never a library.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

from detkit.detection.abstract import DetectionSettings
from detkit.detection.opencv_threads import opencv_threads
from detkit.detection.postprocess import (
    F32,
    Detections,
    Level,
    decode_anchors,
    decode_levels,
    decode_rows,
    suppress,
)
from detkit.detection.preprocess import InputBuffers, Letterbox, fill_letterbox, plan_letterbox
from detkit.detection.runtimes.contract import Runtime
from detkit.errors import DetectorContractError, UnsupportedSettingError
from detkit.images import RGBImage
from detkit.results import DetectionResult


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`DetectionSettings` in which every value is known. The defaults are ultralytics' own.

    Raises:
        UnsupportedSettingError: If a value lies outside its range.
    """

    confidence_threshold: float = 0.25
    iou_threshold: float = 0.7
    max_detections: int = 300
    classes: tuple[int, ...] | None = None
    agnostic_nms: bool = False

    def __post_init__(self) -> None:
        DetectionSettings(*astuple(self))

    def with_settings(self, settings: DetectionSettings) -> Thresholds:
        """These values, with what `settings` asks for put in their place."""
        asked = {f.name: getattr(settings, f.name) for f in fields(settings)}
        return replace(self, **{k: v for k, v in asked.items() if v is not None})


class LoadedModel:
    """Runs images through one runtime.

    Args:
        runtime: The network; this object owns it.
        name: Name of the model, for results.
        defaults: What holds where a call says nothing.
    """

    def __init__(self, runtime: Runtime, name: str, defaults: Thresholds) -> None:
        self.runtime = runtime
        self.name = name
        self.defaults = defaults
        self.class_names = dict(runtime.facts.class_names)
        self._buffers = InputBuffers()

    def plan(self, image_hw: tuple[int, int]) -> Letterbox:
        """How an image of this height and width will lie in the network's input."""
        facts = self.runtime.facts
        return plan_letterbox(image_hw, facts.size_hw, stride=facts.stride, fixed=facts.is_fixed)

    def detect(
        self, images: Sequence[RGBImage], settings: DetectionSettings | None
    ) -> list[DetectionResult]:
        """Detect in validated images of any sizes; one result each, in input order."""
        thresholds = self._effective(settings)
        plans = [self.plan(image.shape[:2]) for image in images]
        results: list[DetectionResult | None] = [None] * len(images)
        for indices in self._groups(plans):
            found = self._run([images[i] for i in indices], [plans[i] for i in indices], thresholds)
            for i, result in zip(indices, found, strict=True):
                results[i] = result
        return [result for result in results if result is not None]

    def _groups(self, plans: list[Letterbox]) -> list[list[int]]:
        """Indices that go through the network together: same input size, not too many."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, plan in enumerate(plans):
            by_size.setdefault(plan.input_hw, []).append(i)
        most = self.runtime.facts.max_batch_size
        return [
            same[start : start + (most or len(same))]
            for same in by_size.values()
            for start in range(0, len(same), most or len(same))
        ]

    def _run(
        self, images: list[RGBImage], plans: list[Letterbox], thresholds: Thresholds
    ) -> list[DetectionResult]:
        began = time.perf_counter()
        batch = self._buffers.take(len(images), plans[0].input_hw)
        with opencv_threads:
            for image, plan, out in zip(images, plans, batch, strict=True):
                fill_letterbox(image, plan, out)
        filled = time.perf_counter()
        raw = self.runtime.infer(batch)
        per_image_ms = 1e3 / len(images)
        times = {
            "preprocess_ms": (filled - began) * per_image_ms,
            "inference_ms": (time.perf_counter() - filled) * per_image_ms,
        }
        if len(raw) != len(images):
            raise DetectorContractError(
                f"{self.runtime.library} returned {len(raw)} outputs for {len(images)} images"
            )
        return [
            self._result(output, plan, thresholds, times)
            for output, plan in zip(raw, plans, strict=True)
        ]

    def _result(
        self,
        raw: F32 | tuple[Level, ...],
        plan: Letterbox,
        thresholds: Thresholds,
        times: dict[str, float],
    ) -> DetectionResult:
        started = time.perf_counter()
        limit = thresholds.max_detections
        found = self._candidates(raw, thresholds)
        if self.runtime.facts.layout == "anchors":
            found = suppress(
                found,
                iou_threshold=thresholds.iou_threshold,
                max_detections=limit,
                agnostic=thresholds.agnostic_nms,
            )
        boxes = plan.to_image(found.boxes[:limit])
        metadata = {
            "image_hw": plan.image_hw,
            "class_names": self.class_names,
            "model": self.name,
            **times,
            "postprocess_ms": (time.perf_counter() - started) * 1e3,
        }
        return DetectionResult(boxes, found.scores[:limit], found.classes[:limit], metadata)

    def _candidates(self, raw: F32 | tuple[Level, ...], thresholds: Thresholds) -> Detections:
        confidence, classes = thresholds.confidence_threshold, thresholds.classes
        if isinstance(raw, tuple):
            return decode_levels(raw, confidence_threshold=confidence, classes=classes)
        decode = decode_anchors if self.runtime.facts.layout == "anchors" else decode_rows
        return decode(raw, confidence_threshold=confidence, classes=classes)

    def _effective(self, settings: DetectionSettings | None) -> Thresholds:
        if settings is None:
            return self.defaults
        if self.runtime.facts.layout == "rows" and (
            settings.iou_threshold is not None or settings.agnostic_nms is not None
        ):
            raise UnsupportedSettingError(
                f"{self.name} has its suppression built in: iou_threshold and agnostic_nms "
                "cannot be set"
            )
        return self.defaults.with_settings(settings)
