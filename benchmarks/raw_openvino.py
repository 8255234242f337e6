"""OpenVINO alone, on images that are letterboxed already: the ceiling of what detkit can reach.

Takes the network that detkit loaded, either as detkit compiles it or as the file holds it, with
OpenVINO's own steps for bytes before it; at the same input size and precision, once for one request
on all cores and once with a stream for each core.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from detkit import YOLOv8Detector
from detkit.detection.preprocess import fill_letterbox
from detkit.detection.runtimes.openvino import the_core
from detkit.detection.threads import usable_cores


class RawOpenVino:
    """Inference and nothing else, over images of one size."""

    def __init__(
        self, detector: YOLOv8Detector, images: Sequence[np.ndarray], *, as_exported: bool
    ) -> None:
        loaded: Any = detector._loaded
        plan = loaded.plan(images[0].shape[:2])
        self._inputs = []
        for image in images:
            pixels = np.empty((1, *plan.input_hw, 3), np.uint8)
            fill_letterbox(image, loaded.plan(image.shape[:2]), pixels[0])
            self._inputs.append(pixels)
        networks = loaded.runtime._networks
        if as_exported:
            model = _exported(loaded.runtime.source)
            model.reshape([1, *plan.input_hw, 3])
        else:
            model = networks.network(plan.input_hw)
        hint = {"INFERENCE_PRECISION_HINT": networks._hint}

        def requests(count: int, **config: object) -> list[Any]:
            compiled = the_core().compile_model(model, "CPU", {**hint, **config})
            return [compiled.create_infer_request() for _ in range(count)]

        cores = usable_cores()
        self._one = requests(1, PERFORMANCE_HINT="LATENCY")
        self._streams = requests(cores, NUM_STREAMS=cores)
        self._pool = ThreadPoolExecutor(cores)

    def one_request(self) -> int:
        """One after the other, each on all cores."""
        return self._run(self._one[0], self._inputs)

    def stream_per_core(self) -> int:
        """As many at once as there are cores, each on one."""
        count = len(self._streams)
        shares = [self._inputs[start::count] for start in range(count)]
        return sum(self._pool.map(self._run, self._streams, shares))

    @staticmethod
    def _run(request: Any, inputs: Sequence[np.ndarray]) -> int:
        from openvino import Tensor

        for pixels in inputs:
            request.set_input_tensor(Tensor(pixels, shared_memory=True))
            # Without this word all outputs are copied, which no ceiling should pay for.
            request.infer(share_outputs=True)
        return len(inputs)


def _exported(path: Path) -> Any:
    """The network of a file, with the steps for uint8 `(1, h, w, 3)` that OpenVINO advises."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(the_core().read_model(path))
    image = steps.input()
    image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    image.model().set_layout(openvino.Layout("NCHW"))
    image.preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    return steps.build()
