"""Tiny networks with random weights, in the layout of real ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from detkit.detection.environment import import_ultralytics

# Real models and videos that may lie beside the checkout; tests that need them skip otherwise.
SHARED = Path(__file__).resolve().parents[2].parent / "shared"

NAMES = {0: "bolt", 1: "nut", 2: "<b>washer</b>"}

TINY_YAML = {
    "nc": len(NAMES),
    "depth_multiple": 0.33,
    "width_multiple": 0.25,
    "backbone": [
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "C2f", [64, True]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "SPPF", [64, 5]],
    ],
    "head": [
        [[3, 4, 6], 1, "Detect", ["nc"]],
    ],
}


def build_network(task: str = "detect", **changes: Any) -> Any:
    """A tiny network with random weights, spread enough that it finds something."""
    import torch

    tasks = import_ultralytics()
    torch.manual_seed(0)
    spec = {**TINY_YAML, **changes}
    kind = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "pose": tasks.PoseModel,
        "classify": tasks.ClassificationModel,
    }[task]
    network = kind(spec, verbose=False)
    network.names = dict(NAMES)
    network.task = task
    network.args = {"imgsz": 128}
    for name, value in network.named_parameters():
        if ".dfl." in name:
            continue  # its weights are constants: 0, 1, 2, …
        if name.endswith(".weight") and value.ndim == 4:
            torch.nn.init.kaiming_uniform_(value, nonlinearity="relu")
        elif "cv3." in name and name.endswith("bias"):
            torch.nn.init.constant_(value, -0.5)
    return network.eval()


def save_checkpoint(network: Any, path: Path) -> Path:
    import torch

    torch.save({"model": network, "ema": None, "train_args": {"imgsz": 128}}, path)
    return path


def export(checkpoint: Path, folder: Path, **options: Any) -> Path:
    """Export through ultralytics, into `folder`."""
    import_ultralytics()
    from ultralytics import YOLO

    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / checkpoint.name
    shutil.copyfile(checkpoint, copy)
    exported = Path(YOLO(copy).export(**options))
    copy.unlink()
    return exported
