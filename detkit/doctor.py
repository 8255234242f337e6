"""`detkit doctor`: what this installation can do, and what is switched off.

Looks, and changes nothing but what `clear_cache` is asked for. Knows nothing of terminals.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from detkit.boxes import Agreement, agreement
from detkit.detection.runtimes.contract import RuntimeName
from detkit.errors import DetectorContractError, describe

# Scenes whose truth is known. Every library here finds 34 of their 36 objects, with a mean IoU of
# 0.96; a wrong install of one finds nothing, or anything.
_CANARY_SEEDS = (1, 2, 3)
_CANARY_F1, _CANARY_IOU = 0.9, 0.9
# Two of these in one process: "OMP: Error #15", and the process ends.
_INTEL_OR_LLVM = re.compile(r"lib(iomp5|omp)\b")
_OPENMP = re.compile(r"lib(iomp5|omp|gomp)(-\w+)?\.so[.\d]*$")

Verdict = Literal["ok", "off", "missing", "broken"]

# Distribution, what it is for, and whether detkit depends on it.
_PACKAGES = (
    ("numpy", "arrays", True),
    ("opencv-python", "drawing, resizing", True),
    ("pillow", "reading images", True),
    ("av", "reading and writing video", True),
    ("ultralytics", "reading .pt models", True),
    ("torch", "reading .pt models, runtime on GPUs", True),
    ("openvino", "runtime on CPUs for .pt, .onnx and OpenVINO models", True),
    ("onnxruntime", "runtime for .onnx models", False),
    ("nncf", "int8 models", False),
    ("pandas", "data frames", True),
    ("pyarrow", "Parquet", True),
    ("matplotlib", "figures", True),
    ("ipywidgets", "panels in notebooks", True),
    ("anywidget", "panels in notebooks", True),
    ("trackers", "tracking in videos", False),
    ("ray", "clusters", False),
)
_EXTRAS = {"onnxruntime": "onnxruntime", "nncf": "int8", "trackers": "track", "ray": "ray"}
_SWITCHES = {
    "DETKIT_OFFLINE": "no download of models",
    "YOLO_OFFLINE": "no analytics of ultralytics",
    "YOLO_AUTOINSTALL": "no `pip install` by ultralytics",
    "ORT_DISABLE_TELEMETRY": "no telemetry of ONNX Runtime",
    "OPENVINO_TELEMETRY": "no telemetry of OpenVINO",
    "RAY_USAGE_STATS_ENABLED": "no usage statistics of Ray",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: "system", "package", "device", "video", "model", "boxes" (what a library finds in
            scenes whose truth is known), "process", "cache" or "network".
        name: What was looked at.
        verdict: "ok"; "off" (not installed, optional; or switched off); "missing"; "broken".
        detail: Version, device or reason.
    """

    topic: str
    name: str
    verdict: Verdict
    detail: str


def examine() -> list[Finding]:
    """Look at everything, in the order it is shown. Takes seconds: it imports torch."""
    checks: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("device", "torch", _torch_devices),
        ("device", "openvino", _openvino_devices),
        ("video", "H.264 encoder", _h264),
        ("model", "sample model", _sample_model),
    )
    libraries: tuple[RuntimeName, ...] = ("openvino", "onnxruntime", "ultralytics")
    return [
        *_system(),
        *(_package(*package) for package in _PACKAGES),
        *(_checked(topic, name, check) for topic, name, check in checks),
        *(
            _checked("boxes", name, partial(_canary, name))
            for name in libraries
            if find_spec(name) is not None
        ),
        _openmp(),  # when all of them are loaded
        *_cache(),
        *_switches(),
    ]


def _system() -> list[Finding]:
    from detkit import __version__

    cores = f"{os.cpu_count()} cores"
    return [
        Finding("system", "detkit", "ok", __version__),
        Finding("system", "python", "ok", platform.python_version()),
        Finding("system", "platform", "ok", f"{platform.system()} {platform.machine()}, {cores}"),
    ]


def _package(name: str, purpose: str, is_needed: bool) -> Finding:
    try:
        return Finding("package", name, "ok", f"{version(name)}, {purpose}")
    except PackageNotFoundError:
        extra = _EXTRAS.get(name)
        how = f"{purpose}: pip install " + (f"'detkit[{extra}]'" if extra else name)
        return Finding("package", name, "missing" if is_needed else "off", how)


def _checked(topic: str, name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(topic, name, "ok", check())
    except Exception as error:  # noqa: BLE001  whatever breaks is what the report is about
        return Finding(topic, name, "broken", describe(error, 400))


def _torch_devices() -> str:
    from detkit.detection.environment import quiet_environment

    quiet_environment()
    import torch

    devices = ["cpu"]
    if torch.cuda.is_available():
        count = range(torch.cuda.device_count())
        devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in count]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return ", ".join(devices)


def _openvino_devices() -> str:
    from detkit.detection.runtimes.openvino import the_core

    core = the_core()
    names = (f"{d} ({core.get_property(d, 'FULL_DEVICE_NAME')})" for d in core.available_devices)
    return ", ".join(names)


def _h264() -> str:
    import av

    return f"{av.Codec('libx264', 'w').name} through PyAV {av.__version__}"


def _sample_model() -> str:
    from detkit.samples import sample_model_path

    path = sample_model_path()
    return f"{path.name}, {path.stat().st_size / 1e6:.1f} MB"


def _canary(library: RuntimeName) -> str:
    """Whether a library finds what there is to find, with what `load_model` chooses for it."""
    from detkit.detection.yolov8 import YOLOv8Detector
    from detkit.samples import sample_model_path, scene

    detector = YOLOv8Detector()
    path = sample_model_path(".pt" if library == "ultralytics" else ".onnx")
    detector.load_model(path, "cpu", runtime=library)
    total = Agreement(0, 0, 0, 0.0)
    with closing(detector):
        for seed in _CANARY_SEEDS:
            image, truth = scene(seed)
            found = detector.detect(image)
            total = total.plus(agreement(found.boxes, found.classes, truth.boxes, truth.classes))
        how = repr(detector).rpartition(", ")[2].rstrip(")")
    number = total.true_positives + total.false_negatives
    line = (
        f"{how}: {total.true_positives} of {number} known objects, {total.false_positives} wrong, "
        f"mean IoU {total.mean_iou:.2f}"
    )
    if total.f1 < _CANARY_F1 or total.mean_iou < _CANARY_IOU:
        raise DetectorContractError(
            f"{line}. This library gives wrong boxes here: install it anew, or choose another "
            "one with load_model(..., runtime=...)"
        )
    return line


def _openmp() -> Finding:
    """Which runtimes of OpenMP are loaded; each inference library may bring its own."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return Finding("process", "OpenMP", "off", "what is loaded can be seen on Linux only")
    return _judge_openmp(line.split(maxsplit=5)[-1] for line in lines)


def _judge_openmp(paths: Iterable[str]) -> Finding:
    # Links to one file are one; copies of it are not.
    loaded = sorted({os.path.realpath(path) for path in paths if _OPENMP.search(path)})
    detail = ", ".join(loaded) or "none is loaded"
    if sum(_INTEL_OR_LLVM.search(Path(path).name) is not None for path in loaded) > 1:
        why = (
            "two that end the process when they meet (OMP: Error #15): remove one of the packages "
            f"they belong to, or install both from one source: {detail}"
        )
        return Finding("process", "OpenMP", "broken", why)
    if len(loaded) > 1:
        detail = f"{len(loaded)}, whose threads add up (OMP_NUM_THREADS bounds each): {detail}"
    return Finding("process", "OpenMP", "ok", detail)


def _cache() -> list[Finding]:
    from detkit.detection.environment import cache_folder
    from detkit.detection.model_cache import ModelCache

    cache = ModelCache()
    entries = cache.entries()
    total = sum(entry.num_bytes for entry in entries)
    held = f"{_models(len(entries))}, {total / 1e6:.1f} of {cache.max_bytes / 1e6:.0f} MB"
    return [
        Finding("cache", "folder", "ok", str(cache_folder())),
        Finding("cache", "content", "ok", held),
        *(
            Finding("cache", entry.source, "ok", f"{entry.num_bytes / 1e6:.1f} MB")
            for entry in entries
        ),
    ]


def clear_cache() -> str:
    """Remove every converted model; downloaded weights stay.

    Returns:
        What was done, in a sentence.

    Raises:
        OSError: If something could not be removed.
    """
    from detkit.detection.model_cache import ModelCache

    cache = ModelCache()
    gone = cache.clear()
    total = sum(entry.num_bytes for entry in gone)
    return f"removed {_models(len(gone))}, {total / 1e6:.1f} MB, from {cache.folder}"


def _models(count: int) -> str:
    return f"{count} converted model{'' if count == 1 else 's'}"


def _switches() -> list[Finding]:
    from detkit.detection.environment import quiet_environment

    quiet_environment()
    findings = []
    for name, meaning in _SWITCHES.items():
        value = os.environ.get(name)
        detail = f"{meaning}: {'not set' if value is None else f'set to {value!r}'}"
        findings.append(Finding("network", name, "off" if value is None else "ok", detail))
    return findings
