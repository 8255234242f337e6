"""TensorRT engines (`.engine`) through ultralytics, on the NVIDIA GPU they were built for.

An engine holds code for the GPU, and may hold some for the processor, such as plug-ins; loading
runs it. So it takes `trust_weights`.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import import_ultralytics
from detkit.detection.model_facts import (
    ANY,
    MAX_TEXT_LENGTH,
    ModelFacts,
    judge_input,
    judge_output,
    require_detection,
)
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.detection.runtimes.torch_runtime import choose_device
from detkit.errors import ModelLoadError, describe


def open_runtime(options: LoadOptions) -> Runtime:
    """Load an engine exported by ultralytics.

    Raises:
        ModelLoadError: If it is not trusted, there is no NVIDIA GPU, or the engine is damaged,
            was built for another GPU, or is no YOLO detection network.
        ImportError: If torch, ultralytics or tensorrt is not installed.
    """
    options.require_trust("a TensorRT engine, a program that runs when it is loaded")
    metadata = _read_metadata(options.path)
    require_detection(metadata)
    device = "cuda:0" if options.device == "auto" else choose_device(options.device)
    if not device.startswith("cuda"):
        raise ModelLoadError(
            f"{options.path.name} is a TensorRT engine, which runs on an NVIDIA GPU only: pass "
            "device='cuda', or load the .pt or .onnx file it was made from"
        )
    choose_device(device)
    return EngineRuntime(options, metadata, device)


class EngineRuntime(Runtime):
    """An engine with buffers of its own. Takes one image at a time."""

    library = "tensorrt"

    def __init__(self, options: LoadOptions, metadata: dict[str, object], device: str) -> None:
        self._options = options
        self._metadata = metadata
        self.device = device
        self._backend = _open_backend(options.path, device)
        self.precision = "fp16" if self._backend.fp16 else "fp32"
        arguments = metadata.get("args")
        is_open = isinstance(arguments, dict) and arguments.get("dynamic") is True
        _, size_hw, _ = judge_input([(1, 3, ANY, ANY)], metadata)
        shape = (1, 3, ANY, ANY) if is_open else (1, 3, *size_hw)
        stride, size_hw, is_fixed = judge_input([shape], metadata, options.image_size)
        try:
            raw = self.infer(np.full((1, *size_hw, 3), 114, dtype=np.uint8))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise ModelLoadError(
                f"{options.path.name} does not run on one image of {size_hw[0]}x{size_hw[1]} "
                f"pixels: {describe(error, 120)}"
            ) from error
        layout, names = judge_output(
            [raw.shape], metadata.get("names"), end_to_end=metadata.get("end2end") is True
        )
        self.facts = ModelFacts(names, stride, size_hw, is_fixed, max_batch_size=1, layout=layout)

    def infer(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Runtime.infer`."""
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).contiguous()
            dtype = torch.float16 if self.precision == "fp16" else torch.float32
            output = self._backend(pixels.to(dtype) / 255)
            first = output[0] if isinstance(output, (list, tuple)) else output
            raw: npt.NDArray[np.float32] = first.float().cpu().numpy()
        return raw

    def replicate(self) -> EngineRuntime:
        """The engine, loaded once more: its buffers cannot be shared."""
        return EngineRuntime(self._options, self._metadata, self.device)

    def close(self) -> None:
        """Let go of the engine."""
        self._backend = None


def _open_backend(path: Path, device: str) -> Any:
    import_module("tensorrt")  # ultralytics would try to install it
    import_ultralytics()
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    try:
        return AutoBackend(str(path), device=torch.device(device), verbose=False)
    except Exception as error:
        raise ModelLoadError(
            f"{path.name} cannot be loaded; an engine fits the GPU model and the TensorRT version "
            f"it was built with: {describe(error, 120)}"
        ) from error


def _read_metadata(path: Path) -> dict[str, object]:
    """The JSON that ultralytics writes in front of the engine, after its length in 4 bytes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(4), "little")
        text = file.read(length) if 0 < length <= MAX_TEXT_LENGTH else b""
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise ModelLoadError(
            f"{path.name} is no TensorRT engine exported by ultralytics: it has no metadata"
        )
    return metadata
