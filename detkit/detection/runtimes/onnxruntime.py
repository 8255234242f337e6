"""ONNX files through ONNX Runtime, on a CPU or an NVIDIA GPU. Never imports torch."""

from __future__ import annotations

import threading
from pathlib import Path
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
from detkit.detection.threads import ThreadPlan
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
    try:
        sessions = _Sessions(onnxruntime, options.path, providers, ThreadPlan(options.num_threads))
        return _open(sessions, metadata, options, device)
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(
            f"ONNX Runtime cannot load {options.path.name}: {describe(error)}"
        ) from error


class OnnxRuntime(Runtime):
    """Sessions, which may run in several threads at once and are shared with replicas."""

    library = "onnxruntime"
    precision = "fp32"

    def __init__(self, sessions: _Sessions, facts: ModelFacts, device: str) -> None:
        self.facts = facts
        self.device = device
        self._sessions = sessions
        given = sessions.first.get_inputs()[0]
        self._input_name = given.name
        self._input_type = _INPUT_TYPES[given.type]

    def infer(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Runtime.infer`."""
        pixels = np.empty((len(batch), 3, *batch.shape[1:3]), dtype=np.float32)
        np.divide(batch.transpose(0, 3, 1, 2), np.float32(255), out=pixels)
        feed = {self._input_name: pixels.astype(self._input_type, copy=False)}
        with self._sessions.plan.call() as layout:
            session = self._sessions.get(layout.threads_per_call)
            raw: npt.NDArray[np.float32] = session.run(None, feed)[0]
        return raw.astype(np.float32, copy=False)

    def replicate(self) -> OnnxRuntime:
        """A runtime on the same sessions."""
        return OnnxRuntime(self._sessions, self.facts, self.device)

    def share_threads(self, num_threads: int, num_workers: int) -> None:
        """See `Runtime.share_threads`."""
        if self.device == "cpu":
            self._sessions.plan.share(num_threads, num_workers)

    def close(self) -> None:
        """Let go of the sessions."""
        self._sessions = _CLOSED


class _Sessions:
    """One session for each number of threads that a call may have. Thread-safe."""

    def __init__(
        self, onnxruntime: Any, path: Path, providers: list[Any], plan: ThreadPlan
    ) -> None:
        self.plan = plan
        self._library = onnxruntime
        self._path = path
        self._providers = providers
        self._lock = threading.Lock()
        self._state = _state_of(path)
        self._by_threads: dict[int, Any] = {}
        with plan.call() as layout:
            self.first = self.get(layout.threads_per_call)

    def get(self, num_threads: int) -> Any:
        """The session whose calls have so many threads."""
        with self._lock:
            if num_threads not in self._by_threads:
                self._by_threads[num_threads] = self._open(num_threads)
            return self._by_threads[num_threads]

    def _open(self, num_threads: int) -> Any:
        if _state_of(self._path) != self._state:
            return self.first  # the file is not the one any more that was loaded
        settings = self._library.SessionOptions()
        settings.log_severity_level = _FATAL
        settings.inter_op_num_threads = 1
        settings.intra_op_num_threads = num_threads
        # Idle threads that spin would take the cores from the other workers.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return self._library.InferenceSession(
            str(self._path), sess_options=settings, providers=self._providers
        )


def _state_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


_CLOSED: Any = None


def _open(
    sessions: _Sessions, metadata: dict[str, object], options: LoadOptions, device: str
) -> OnnxRuntime:
    session = sessions.first
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
    blank = OnnxRuntime(sessions, facts, device).infer(np.full((1, *size_hw, 3), 114, np.uint8))
    outputs = [blank.shape] + [(0,)] * (len(session.get_outputs()) - 1)
    layout, names = judge_output(
        outputs, metadata.get("names"), end_to_end=metadata.get("end2end") is True
    )
    facts = ModelFacts(names, stride, size_hw, is_fixed, max_batch_size=most, layout=layout)
    return OnnxRuntime(sessions, facts, device)


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
