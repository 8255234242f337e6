"""ONNX files and OpenVINO folders through OpenVINO, on the CPU. Never imports torch.

The conversion from uint8 pixels to numbers in [0, 1] is compiled into the network, so that
the letterboxed image is its input as it is; see `openvino_network.py`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import import_openvino
from detkit.detection.model_facts import (
    ANY,
    DEFAULT_STRIDE,
    Layout,
    ModelFacts,
    judge_input,
    judge_output,
    require_detection,
)
from detkit.detection.openvino_file import model_file, read_metadata
from detkit.detection.postprocess import RawOutput
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.detection.runtimes.openvino_network import prepare, read_levels
from detkit.detection.runtimes.openvino_silu import replace_silu
from detkit.detection.threads import ThreadLayout, ThreadPlan
from detkit.errors import ModelLoadError

# One network is compiled for each of the first rectangles that are asked for (about 0.2 s and
# 20 MB each for YOLOv8n); every further one goes through one network without a fixed size,
# which is some 7 % slower. So a folder of many shapes never waits for the compiler each time.
MAX_COMPILED_SIZES = 8
_HINTS = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}

# Input size, or `None` for the network without a fixed one, and the layout of threads.
_Key: TypeAlias = tuple[tuple[int, int] | None, ThreadLayout]

_core: Any = None
_core_lock = threading.Lock()


def the_core() -> Any:
    """OpenVINO's `Core`, one for the whole process and never destroyed.

    Each one installs an alternative stack for signals on the thread that makes it, and puts back
    what it found when it is destroyed. Two that overlap leave the stack of the first behind,
    freed: the next signal, such as a notebook's Stop button, then ends the process with a
    segmentation fault (measured with OpenVINO 2026.4.1).
    """
    global _core
    with _core_lock:
        if _core is None:
            _core = import_openvino().Core()
        return _core


def open_runtime(options: LoadOptions) -> Runtime:
    """Load an `.onnx` or `.xml` file or a folder made by an OpenVINO export.

    Raises:
        ModelLoadError: If it is damaged, hostile, no YOLO detection network, or asks for a
            device or precision that is not there.
    """
    if options.device not in ("cpu", "auto"):
        raise ModelLoadError(
            f"device {options.device!r} is not available through OpenVINO; available: cpu"
        )
    path = model_file(options.path)
    metadata = read_metadata(path)
    require_detection(metadata)
    core = the_core()
    try:
        model = core.read_model(path)
        facts = _read_facts(model, metadata, options)
        is_int8 = metadata.get("precision") == "int8"
        _check_int8(path, options.precision, is_int8)
        rest = "auto" if is_int8 else options.precision
        precision = _choose_precision(core, rest, facts.layout)
        plan = ThreadPlan(options.num_threads)
        is_exact = not is_int8 and precision != "bf16"
        prepared = prepare(model, facts)
        networks = _Networks(core, prepared, _HINTS[precision][0], plan, is_exact=is_exact)
        with plan.call() as layout:
            networks.get(facts.size_hw, layout)
    except ModelLoadError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise ModelLoadError(f"OpenVINO cannot load {path.name}: {_reason(error)}") from error
    return OpenVinoRuntime(networks, facts, "int8" if is_int8 else precision, path)


class OpenVinoRuntime(Runtime):
    """A synchronous infer request for each size; compiled networks are shared with replicas."""

    device = "cpu"
    library = "openvino"

    def __init__(
        self, networks: _Networks, facts: ModelFacts, precision: str, source: Path
    ) -> None:
        self.facts = facts
        self.precision = precision
        self.source = source  # the file that the network was read from
        self._networks = networks
        self._requests: dict[_Key, Any] = {}

    def infer(self, batch: npt.NDArray[np.uint8]) -> RawOutput:
        """See `Runtime.infer`; takes one image."""
        from openvino import Tensor

        with self._networks.plan.call() as layout:
            request = self._request((batch.shape[1], batch.shape[2]), layout)
            # The tensor borrows the array's memory, and is let go before `batch` is.
            request.set_input_tensor(Tensor(batch, shared_memory=True))
            # Without this word all outputs are copied, which nobody asked for.
            request.infer(share_outputs=True)
        outputs = [request.get_output_tensor(i).data for i in range(self._networks.num_outputs)]
        if len(outputs) > 1:
            return [read_levels(outputs, batch.shape[1])]
        decoded: npt.NDArray[np.float32] = outputs[0]
        return decoded

    def _request(self, hw: tuple[int, int], layout: ThreadLayout) -> Any:
        request = self._requests.get((hw, layout))
        if request is None:
            key, compiled = self._networks.get(hw, layout)
            request = self._requests.get(key)
            if request is None:
                wanted = self._networks.plan.layouts()
                self._requests = {k: r for k, r in self._requests.items() if k[1] in wanted}
                request = self._requests[key] = compiled.create_infer_request()
        return request

    def replicate(self) -> OpenVinoRuntime:
        """A runtime with requests of its own on the same compiled networks."""
        return OpenVinoRuntime(self._networks, self.facts, self.precision, self.source)

    def share_threads(self, num_threads: int, num_workers: int) -> None:
        """See `Runtime.share_threads`."""
        self._networks.plan.share(num_threads, num_workers)

    def close(self) -> None:
        """Drop the requests, and with the last replica the networks."""
        self._requests.clear()
        self._networks = _CLOSED


class _Networks:
    """Compiled networks by input size and layout of threads, shared by replicas. Thread-safe."""

    def __init__(
        self, core: Any, model: Any, hint: str, plan: ThreadPlan, *, is_exact: bool
    ) -> None:
        self.plan = plan
        self.num_outputs = len(model.outputs)
        self._core = core
        self._model = model
        self._hint = hint
        self._is_exact = is_exact
        self._lock = threading.Lock()
        self._compiled: dict[_Key, Any] = {}

    def get(self, hw: tuple[int, int], layout: ThreadLayout) -> tuple[_Key, Any]:
        """The compiled network for an input of height and width `hw`, and its key."""
        with self._lock:
            key: _Key = (hw, layout)
            if key not in self._compiled and not self._has_room(layout) and not _is_narrow(hw):
                key = (None, layout)
            if key not in self._compiled:
                wanted = {*self.plan.layouts(), layout}
                self._compiled = {k: c for k, c in self._compiled.items() if k[1] in wanted}
                self._compiled[key] = self._compile(*key)
            return key, self._compiled[key]

    def _has_room(self, layout: ThreadLayout) -> bool:
        sizes = [hw for hw, used in self._compiled if used == layout and hw is not None]
        return len(sizes) < MAX_COMPILED_SIZES

    def network(self, hw: tuple[int, int] | None) -> Any:
        """The network for inputs of height and width `hw`, or of any, before it is compiled."""
        model = self._model.clone()
        height, width = hw or (ANY, ANY)
        if not model.input(0).partial_shape.is_static:
            model.reshape([1, height, width, 3])
        if hw is not None and not _is_narrow(hw) and not self._is_exact:
            replace_silu(model)
        return model

    def _compile(self, hw: tuple[int, int] | None, layout: ThreadLayout) -> Any:
        config: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": "f32" if _is_narrow(hw) else self._hint,
            "INFERENCE_NUM_THREADS": layout.num_threads,
            # Every stream works on one request at a time, with its share of the threads.
            "NUM_STREAMS": layout.num_calls,
            # Pinned, two networks with one thread each sat on one core (94 images/s, not 190, on
            # two cores), and beside busy processes a network waited for the very core it sat on.
            "ENABLE_CPU_PINNING": False,
        }
        return self._core.compile_model(self.network(hw), "CPU", config)


def _is_narrow(hw: tuple[int, int] | None) -> bool:
    """Where the last map of features has one column: OpenVINO 2026.4.1 finds NaN in bfloat16."""
    return hw is not None and hw[1] <= DEFAULT_STRIDE


_CLOSED: Any = None


def _check_int8(path: Path, wanted: str, is_int8: bool) -> None:
    """An int8 network is one on disk already, made by `optimize`; its rest is in bf16 or fp32."""
    if wanted == "int8" and not is_int8:
        raise lacks_int8(path)
    if is_int8 and wanted not in ("auto", "int8"):
        raise ModelLoadError(
            f"{path.name} is an int8 network: precision must be 'auto' or 'int8', got {wanted!r}"
        )


def lacks_int8(path: Path) -> ModelLoadError:
    """The error for a float network that is asked to be in int8."""
    return ModelLoadError(
        f"there is no int8 version of {path.name}: make one with detector.optimize(images), "
        "on some hundred images of your own"
    )


def _choose_precision(core: Any, wanted: str, layout: Layout) -> str:
    native = list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    if wanted == "auto":
        # Rows hold class ids as numbers, and bfloat16 counts to 256.
        return "bf16" if "BF16" in native and layout == "anchors" else "fp32"
    if wanted != "fp32" and _HINTS[wanted][1] not in native:
        raise ModelLoadError(
            f"precision {wanted!r} is not native to this CPU; it has "
            f"{', '.join(name for name, (_, code) in _HINTS.items() if code in native)}"
        )
    return wanted


def _read_facts(model: Any, metadata: dict[str, object], options: LoadOptions) -> ModelFacts:
    inputs = [_lengths(given.partial_shape) for given in model.inputs]
    stride, size_hw, is_fixed = judge_input(inputs, metadata, options.image_size)
    probe = model.clone()
    if not is_fixed or inputs[0][0] == ANY:
        probe.reshape([1, 3, *size_hw])
    layout, names = judge_output(
        [_lengths(output.partial_shape) for output in probe.outputs],
        metadata.get("names"),
        end_to_end=metadata.get("end2end") is True,
    )
    return ModelFacts(names, stride, size_hw, is_fixed, max_batch_size=1, layout=layout)


def _lengths(partial_shape: Any) -> tuple[int, ...]:
    if partial_shape.rank.is_dynamic:
        return ()
    return tuple(int(d.get_length()) if d.is_static else ANY for d in partial_shape)


def _reason(error: BaseException) -> str:
    """The last informative line of OpenVINO's multi-line messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
