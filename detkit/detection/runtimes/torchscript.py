"""TorchScript archives (`.torchscript`) through torch.

An archive holds a program: no Python code, but among the operations of torch are some that write
files (`torch.save`, `torch.from_file`), and loading may run them. So it takes `trust_weights`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from detkit.detection.environment import quiet_environment
from detkit.detection.model_facts import (
    ANY,
    MAX_TEXT_LENGTH,
    ModelFacts,
    judge_input,
    judge_output,
    require_detection,
)
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.detection.runtimes.torch_runtime import TorchRuntime, choose_device, choose_precision
from detkit.detection.threads import ThreadPlan
from detkit.errors import ModelLoadError, describe


def open_runtime(options: LoadOptions) -> Runtime:
    """Load a TorchScript export.

    Raises:
        ModelLoadError: If it is not trusted, damaged, no YOLO detection network, or asks for a
            device or precision that is not there.
        ImportError: If torch is not installed.
    """
    options.require_trust(
        "a TorchScript file, a program that may also write files when it is loaded"
    )
    quiet_environment()
    device = choose_device(options.device)
    precision = choose_precision(device, options.precision)
    network, metadata = _read(options.path)
    require_detection(metadata)
    sides = _sides(metadata)
    stride, size_hw, is_fixed = judge_input([(1, 3, *sides)], metadata, options.image_size)
    # The output is not written down anywhere: run once and look.
    facts = ModelFacts({0: ""}, stride, size_hw, is_fixed, max_batch_size=1)
    plan = ThreadPlan(options.num_threads)
    probe = TorchRuntime(network, facts, device, precision, plan)
    try:
        raw = probe.infer(np.full((1, *size_hw, 3), 114, dtype=np.uint8))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ModelLoadError(
            f"{options.path.name} does not run on an image of {size_hw[0]}x{size_hw[1]} pixels: "
            f"{describe(error, 120)}"
        ) from error
    layout, names = judge_output(
        [raw.shape], metadata.get("names"), end_to_end=metadata.get("end2end") is True
    )
    facts = ModelFacts(names, stride, size_hw, is_fixed, max_batch_size=1, layout=layout)
    return TorchRuntime(network, facts, device, precision, plan)


def _read(path: Path) -> tuple[Any, dict[str, object]]:
    import torch

    extra = {"config.txt": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated since torch 2.10, and still the format
            load: Any = torch.jit.load
            network = load(path, map_location="cpu", _extra_files=extra).eval()
    except Exception as error:
        raise ModelLoadError(
            f"{path.name} is damaged or no TorchScript archive: {describe(error, 120)}"
        ) from error
    text: str | bytes = extra["config.txt"]
    if len(text) > MAX_TEXT_LENGTH:
        raise ModelLoadError(f"{path.name} has more than {MAX_TEXT_LENGTH} bytes of metadata")
    try:
        metadata = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{path.name} has metadata that cannot be read") from error
    return network, metadata if isinstance(metadata, dict) else {}


def _sides(metadata: dict[str, object]) -> tuple[int, int]:
    """Height and width that the network was traced with, or `ANY` for both."""
    arguments = metadata.get("args")
    if isinstance(arguments, dict) and arguments.get("dynamic") is True:
        return ANY, ANY
    _, size_hw, _ = judge_input([(1, 3, ANY, ANY)], metadata)
    return size_hw
