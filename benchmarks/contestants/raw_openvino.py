"""OpenVINO's inference alone: the ceiling. No file, no letterbox, no boxes, just the network.

One request per core, each with a stream of its own, which is what fills the cores best (one
request with all cores measured some 15 % less); pixels are prepared before the clock starts.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.contestants.contract import CONFIDENCE, IOU, Found, Setup, Work, of_detkit

TITLE = "raw inference alone"
PACKAGES = ("openvino",)


def file_to_results(setup: Setup, num_requests: int | None = None) -> Work:
    """The video's frames, letterboxed beforehand. Its boxes are read once, to verify it."""
    import openvino

    from detkit import YOLOv8Detector
    from detkit.detection.preprocess import fill_letterbox, plan_letterbox
    from detkit.video import VideoSource

    num_requests = num_requests or setup.cores
    detector = YOLOv8Detector()
    thresholds = {"confidence_threshold": CONFIDENCE, "iou_threshold": IOU}
    detector.load_model(setup.onnx, device="cpu", **thresholds)
    frames = [frame.image for frame in VideoSource(setup.video)]
    plan = plan_letterbox(frames[0].shape[:2], (640, 640), stride=32)

    def prepared(frame: Any) -> Any:
        pixels = np.empty((*plan.input_hw, 3), np.uint8)
        fill_letterbox(frame, plan, pixels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / np.float32(255))

    inputs = [prepared(frame) for frame in frames]
    core = openvino.Core()
    model = core.read_model(setup.onnx)
    model.reshape(inputs[0].shape)
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hints = {
        "PERFORMANCE_HINT": "LATENCY" if num_requests == 1 else "THROUGHPUT",
        "NUM_STREAMS": str(num_requests),
        "INFERENCE_PRECISION_HINT": "bf16" if has_bf16 else "f32",
    }
    compiled = core.compile_model(model, "CPU", hints)
    requests = [compiled.create_infer_request() for _ in range(num_requests)]
    pool = ThreadPoolExecutor(num_requests)
    truth: list[Found] = []

    def share(number: int) -> int:
        mine = inputs[number::num_requests]
        for pixels in mine:
            requests[number].infer({0: pixels}, share_inputs=True, share_outputs=True)
        return len(mine)

    def work() -> list[Found]:
        if not truth:
            truth.extend(of_detkit(detector.detect(frame)) for frame in frames)
            return truth
        assert sum(pool.map(share, range(num_requests))) == len(truth)
        return truth

    return work


WAYS = {"file_to_results": file_to_results}
