"""Checkpoints (`.pt`) through torch, with the network classes of ultralytics.

Takes the network out of the checkpoint and nothing else: ultralytics' predictor, with its
shared arguments, its lock and the time limit of its suppression, is never used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detkit.detection.environment import import_ultralytics
from detkit.detection.model_facts import (
    ModelFacts,
    class_names_from,
    require_detection,
    size_from,
    stride_from,
)
from detkit.detection.runtimes.contract import LoadOptions, Runtime
from detkit.detection.runtimes.torch_runtime import TorchRuntime, choose_device, choose_precision
from detkit.detection.threads import ThreadPlan
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
    import_ultralytics()
    device = choose_device(options.device)
    precision = choose_precision(device, options.precision)
    network, facts = load_network(options)
    plan = ThreadPlan(options.num_threads)
    runtime = TorchRuntime(network, facts, device, precision, plan)
    # Builds what the first pass builds, and shows that the network runs at all.
    runtime.warm_up()
    return runtime


def load_network(options: LoadOptions) -> tuple[Any, ModelFacts]:
    """The torch module of a YOLO detection checkpoint, ready to run, and its facts.

    Raises:
        ModelLoadError: If it is damaged, would run code, or is no detection model.
        ImportError: If torch or ultralytics is not installed.
    """
    tasks = import_ultralytics()
    return _prepare(_read(tasks, options.path, options.trust_weights), options)


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
    with path.open("rb") as file:
        is_checkpoint = file.read(2).startswith((b"PK", b"\x80"))  # a zip or, as of old, a pickle
    is_refused = isinstance(error, pickle.UnpicklingError) and "Unsupported" in text
    if is_checkpoint and is_refused and not trust_weights:
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
