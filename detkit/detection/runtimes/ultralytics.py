"""Checkpoints (`.pt`) through torch, with the network classes of ultralytics.

Takes the network out of the checkpoint and nothing else: ultralytics' predictor, with its
shared arguments, its lock and the time limit of its suppression, is never used.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.environment import import_ultralytics
from detkit.detection.model_facts import (
    ModelFacts,
    class_names_from,
    require_detection,
    size_from,
    stride_from,
)
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.errors import ModelLoadError, describe

# Heads whose output is `(B, 4 + num_classes, A)`, or `(B, N, 6)` where suppression is built in.
_HEADS = ("Detect", "v10Detect")


def open_runtime(options: LoadOptions) -> Runtime:
    """Load a YOLO detection checkpoint.

    Raises:
        ModelLoadError: If it is damaged, would run code, is no detection model, or asks for a
            device or precision that is not there.
        ImportError: If torch or ultralytics is not installed.
    """
    tasks = import_ultralytics()
    device = _choose_device(options.device)
    precision = _choose_precision(device, options.precision)
    checkpoint = _read(tasks, options.path, options.trust_weights)
    network, facts = _prepare(checkpoint, options)
    runtime = UltralyticsRuntime(network, facts, device, precision, options.num_threads)
    # Builds what the first pass builds, and shows that the network runs at all.
    runtime.warm_up()
    return runtime


class UltralyticsRuntime(Runtime):
    """A torch module in evaluation mode. Every replica has a copy of its own."""

    library = "ultralytics"

    def __init__(
        self,
        network: Any,
        facts: ModelFacts,
        device: str,
        precision: str,
        num_threads: int | None,
    ) -> None:
        import torch

        self.device = device
        self.precision = precision
        self._dtype = torch.float16 if precision == "fp16" else torch.float32
        self._network = network.to(device=device, dtype=self._dtype)
        self._num_threads = num_threads
        # On a CPU a batch is slower than its images one by one, and would let the size of the
        # batch reach the last digit of the result.
        self.facts = facts if device != "cpu" else replace(facts, max_batch_size=1)

    def infer(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Runtime.infer`."""
        import torch

        if self._num_threads is not None and torch.get_num_threads() != self._num_threads:
            torch.set_num_threads(self._num_threads)
        try:
            with torch.inference_mode():
                pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2)
                output = self._network(pixels.to(self._dtype).contiguous() / 255)
                raw: npt.NDArray[np.float32] = output.float().cpu().numpy()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError(describe(error)) from error
            raise
        return raw

    def warm_up(self) -> None:
        """Run once on grey.

        Raises:
            ModelLoadError: If the output is not what the head promises.
        """
        rows, columns = 4 + len(self.facts.class_names), 6
        raw = self.infer(np.full((1, *self.facts.size_hw, 3), 114, dtype=np.uint8))
        index, expected = (1, rows) if self.facts.layout == "anchors" else (2, columns)
        if raw.ndim != 3 or raw.shape[index] != expected:
            raise ModelLoadError(
                f"the network returned an array of shape {raw.shape} where a detection network "
                f"with {rows - 4} classes returns {expected} in place {index}"
            )

    def replicate(self) -> UltralyticsRuntime:
        """A runtime with a copy of the network, run once."""
        network = copy.deepcopy(self._network)
        replica = UltralyticsRuntime(
            network, self.facts, self.device, self.precision, self._num_threads
        )
        replica.warm_up()
        return replica

    def close(self) -> None:
        """Let go of the network."""
        self._network = None


def _choose_device(wanted: str) -> str:
    import torch

    available = ["cpu"]
    if torch.cuda.is_available():
        available += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        available.append("mps")
    if wanted == "auto":
        return next((d for d in ("cuda:0", "mps") if d in available), "cpu")
    device = "cuda:0" if wanted == "cuda" else wanted
    if device not in available:
        raise ModelLoadError(
            f"device {wanted!r} is not available here; available: {', '.join(available)}"
        )
    return device


def _choose_precision(device: str, wanted: str) -> str:
    if wanted in ("auto", "fp32"):
        return "fp32"
    if wanted == "fp16" and device != "cpu":
        return "fp16"
    raise ModelLoadError(
        f"precision {wanted!r} is not available through ultralytics on {device}; "
        f"available: fp32{'' if device == 'cpu' else ', fp16'}"
    )


def _read(tasks: Any, path: Path, trust_weights: bool) -> dict[str, Any]:
    """Unpickle the checkpoint; without `trust_weights` only known classes are built."""
    import torch

    safe: Any = getattr(tasks, "_SafeLoad", None)
    if not trust_weights and (safe is None or not safe.SUPPORTED):
        raise ModelLoadError(
            f"{path.name}: a .pt file can run code when it is loaded, and this torch or "
            "ultralytics cannot prevent it (torch 2.6 and ultralytics 8.4.138 can). Update "
            "them, use an .onnx file, or pass trust_weights=True if you trust its origin"
        )
    try:
        if trust_weights:
            checkpoint = torch.load(path, map_location="cpu", weights_only=False)
        else:
            with safe.loading(path):
                checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelLoadError(_load_complaint(path, error, trust_weights)) from error
    if not isinstance(checkpoint, dict):
        raise ModelLoadError(
            f"{path.name} is no ultralytics checkpoint: it holds a {type(checkpoint).__name__}"
        )
    return checkpoint


def _load_complaint(path: Path, error: Exception, trust_weights: bool) -> str:
    import pickle

    text = str(error)
    if "TorchScript" in text:
        return f"{path.name} is a TorchScript archive; rename it to {path.stem}.torchscript"
    if isinstance(error, pickle.UnpicklingError) and not trust_weights and "Unsupported" in text:
        return (
            f"{path.name} holds more than weights and was refused, because loading it would run "
            "its code. If you trust its origin, pass trust_weights=True"
        )
    return f"{path.name} is damaged or no checkpoint: {describe(error, 120)}"


def _prepare(checkpoint: dict[str, Any], options: LoadOptions) -> tuple[Any, ModelFacts]:
    """The network, fused and in evaluation mode, and what it says about itself."""
    import torch

    network: Any = checkpoint.get("ema")
    if network is None:
        network = checkpoint.get("model")
    layers: Any = getattr(network, "model", None)
    nn = torch.nn
    if not (isinstance(network, nn.Module) and isinstance(layers, nn.Sequential)):
        raise ModelLoadError(f"{options.path.name} holds no ultralytics network")
    head: Any = layers[-1]
    require_detection({"task": getattr(network, "task", None) or _task_of(head)})
    if type(head).__name__ not in _HEADS:
        raise ModelLoadError(
            f"{options.path.name} has a head of the kind {type(head).__name__!r}; "
            f"detkit reads {' and '.join(_HEADS)}"
        )
    whole: Any = network
    try:
        network = whole.float().fuse(verbose=False).eval()
        for layer in network.modules():
            if isinstance(layer, torch.nn.Upsample):
                layer.recompute_scale_factor = None  # missing in checkpoints of old torch
        head.export = True  # return the predictions alone
        stride = stride_from(float(max(network.stride)))
        size: object = options.image_size
        if size is None:
            size = (getattr(network, "args", None) or {}).get("imgsz")
        facts = ModelFacts(
            class_names_from(network.names, int(head.nc)),
            stride,
            size_from(size, stride),
            layout="rows" if getattr(head, "end2end", False) else "anchors",
        )
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelLoadError):
            raise
        raise ModelLoadError(
            f"{options.path.name} holds an incomplete network: {describe(error, 120)}"
        ) from error
    return network, facts


def _task_of(head: Any) -> str:
    """The task that a head stands for, for checkpoints that do not say."""
    tasks = {
        "Segment": "segment",
        "Pose": "pose",
        "Classify": "classify",
        "OBB": "obb",
    }
    return tasks.get(type(head).__name__, "detect")
