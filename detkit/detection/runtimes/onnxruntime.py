"""ONNX files through ONNX Runtime, on a CPU or an NVIDIA GPU. Never imports torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import quiet_environment
from detkit.detection.model_facts import (
    ANY,
    ModelFacts,
    judge_input,
    judge_output,
    parse_metadata,
    require_detection,
)
from detkit.detection.onnx_file import read_onnx_metadata
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.errors import ModelLoadError, describe

_INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_FATAL = 4  # log nothing less: errors arrive as exceptions


def open_runtime(options: LoadOptions) -> Runtime:
    """Load an `.onnx` file.

    Raises:
        ModelLoadError: If it is damaged, hostile, no YOLO detection network, or asks for a
            device or precision that is not there.
        ImportError: If onnxruntime is not installed.
    """
    metadata = parse_metadata(read_onnx_metadata(options.path))
    require_detection(metadata)
    if options.precision not in ("auto", "fp32"):
        raise ModelLoadError(
            f"precision {options.precision!r} is not available through ONNX Runtime; it runs the "
            "network as it was exported: use 'auto' or 'fp32'"
        )
    quiet_environment()
    import onnxruntime

    device, providers = _choose_device(onnxruntime, options.device)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _FATAL
    settings.inter_op_num_threads = 1
    if options.num_threads is not None:
        settings.intra_op_num_threads = options.num_threads
    # Idle threads that spin would take the cores from the other workers.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(options.path), sess_options=settings, providers=providers
        )
        return _open(session, metadata, options, device)
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(
            f"ONNX Runtime cannot load {options.path.name}: {describe(error)}"
        ) from error


class OnnxRuntime(Runtime):
    """A session, which may run in several threads at once and is shared with replicas."""

    library = "onnxruntime"
    precision = "fp32"

    def __init__(self, session: Any, facts: ModelFacts, device: str) -> None:
        self.facts = facts
        self.device = device
        self._session = session
        given = session.get_inputs()[0]
        self._input_name = given.name
        self._input_type = _INPUT_TYPES[given.type]

    def infer(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Runtime.infer`."""
        pixels = np.empty((len(batch), 3, *batch.shape[1:3]), dtype=np.float32)
        np.divide(batch.transpose(0, 3, 1, 2), np.float32(255), out=pixels)
        feed = {self._input_name: pixels.astype(self._input_type, copy=False)}
        raw: npt.NDArray[np.float32] = self._session.run(None, feed)[0]
        return raw.astype(np.float32, copy=False)

    def replicate(self) -> OnnxRuntime:
        """A runtime on the same session."""
        return OnnxRuntime(self._session, self.facts, self.device)

    def close(self) -> None:
        """Let go of the session."""
        self._session = None


def _open(
    session: Any, metadata: dict[str, object], options: LoadOptions, device: str
) -> OnnxRuntime:
    inputs = session.get_inputs()
    shapes = [tuple(n if isinstance(n, int) else ANY for n in given.shape) for given in inputs]
    stride, size_hw, is_fixed = judge_input(shapes, metadata, options.image_size)
    if inputs[0].type not in _INPUT_TYPES:
        raise ModelLoadError(
            f"this network takes {inputs[0].type}; expected {' or '.join(_INPUT_TYPES)}"
        )
    one_by_one = device == "cpu" or shapes[0][0] == 1
    most = 1 if one_by_one else None
    facts = ModelFacts({0: ""}, stride, size_hw, is_fixed, max_batch_size=most)
    # Shapes of outputs are open where those of inputs are: run once and look.
    blank = OnnxRuntime(session, facts, device).infer(np.full((1, *size_hw, 3), 114, np.uint8))
    outputs = [blank.shape] + [(0,)] * (len(session.get_outputs()) - 1)
    layout, names = judge_output(
        outputs, metadata.get("names"), end_to_end=metadata.get("end2end") is True
    )
    facts = ModelFacts(names, stride, size_hw, is_fixed, max_batch_size=most, layout=layout)
    return OnnxRuntime(session, facts, device)


def _choose_device(onnxruntime: Any, wanted: str) -> tuple[str, list[Any]]:
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    cpu = "CPUExecutionProvider"
    if wanted.startswith("cuda") or (wanted == "auto" and has_cuda):
        if has_cuda:
            index = int(wanted.partition(":")[2] or 0)
            return f"cuda:{index}", [("CUDAExecutionProvider", {"device_id": index}), cpu]
        raise ModelLoadError(
            f"device {wanted!r} is not available through this ONNX Runtime; available: cpu"
        )
    if wanted == "mps":
        raise ModelLoadError("device 'mps' is not available through ONNX Runtime; available: cpu")
    return "cpu", [cpu]
