"""`import detkit` is quick, loads nothing heavy, and shows exactly what it says it shows."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import detkit
import detkit.api
import detkit.detection

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 0.3
NUM_TRIES = 7
HEAVY = {
    "torch",
    "torchvision",
    "ultralytics",
    "openvino",
    "onnxruntime",
    "onnx",
    "pandas",
    "matplotlib",
    "ipywidgets",
    "anywidget",
    "IPython",
    "PIL.Image",
    "av",
    "ray",
    "pyarrow",
}
PUBLIC = {
    "detkit": {
        "AbstractDetector",
        "AsyncDetector",
        "DetectionResult",
        "DetectionSettings",
        "DetectorClosed",
        "DetkitError",
        "EngineStatistics",
        "ImageDecodeError",
        "InvalidImageError",
        "ItemFailure",
        "ModelLoadError",
        "ModelNotFoundError",
        "PartialBatchError",
        "YOLOv8Detector",
        "annotate",
        "decode_image",
        "detect_images",
        "detect_multiple_async",
        "detect_video",
        "run",
    },
    "detkit.api": {
        "AbstractDetector",
        "AsyncDetector",
        "DetectionResult",
        "DetectionSettings",
        "DetectorClosed",
        "EngineStatistics",
        "ItemFailure",
        "PartialBatchError",
        "detect_multiple_async",
    },
    "detkit.detection": {
        "AbstractDetector",
        "DetectionResult",
        "DetectionSettings",
        "ModelLoadError",
        "ModelNotFoundError",
        "YOLOv8Detector",
    },
}


def fresh(program: str) -> Any:
    """What a new interpreter prints, read as JSON."""
    command = [sys.executable, "-c", f"import sys, json, time\n{program}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return json.loads(done.stdout)


# Seconds of an import, less those in which it stood in line for a CPU that others were using.
STOPWATCH = """
from pathlib import Path
def now():
    try:
        waited_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    except OSError:
        waited_ns = 0
    return time.perf_counter() - waited_ns / 1e9
started = now()
import detkit
print(now() - started)
"""


def test_importing_takes_less_than_0_3_s() -> None:
    best_s = min(fresh(STOPWATCH) for _ in range(NUM_TRIES))
    print(f"best of {NUM_TRIES}: {best_s:.3f} s")
    assert best_s <= BOUND_S


@pytest.mark.parametrize("name", PUBLIC)
def test_importing_loads_nothing_heavy(name: str) -> None:
    loaded = set(fresh(f"import {name}; print(json.dumps(sorted(sys.modules)))"))
    assert name in loaded
    assert not HEAVY & loaded


def test_importing_starts_no_thread_and_opens_no_network() -> None:
    program = """
seen = []
sys.addaudithook(lambda e, a: seen.append(e) if e.startswith(("socket.", "subprocess.")) else None)
import threading, detkit
print(json.dumps([threading.active_count(), seen]))
"""
    assert fresh(program) == [1, []]


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_exact(name: str) -> None:
    module = import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) == PUBLIC[name]
    assert PUBLIC[name] <= set(dir(module))
    for public in PUBLIC[name]:
        assert getattr(module, public) is not None


def test_at_most_25_names_at_the_top() -> None:
    assert len(detkit.__all__) <= 25


def test_every_public_name_is_the_same_object_wherever_it_is_shown() -> None:
    for name in PUBLIC["detkit.api"] & PUBLIC["detkit"]:
        assert getattr(detkit, name) is getattr(detkit.api, name)
    for name in PUBLIC["detkit.detection"] & PUBLIC["detkit"]:
        assert getattr(detkit, name) is getattr(detkit.detection, name)


def test_the_names_of_the_specification_are_where_it_says() -> None:
    from detkit.api.async_detector import AsyncDetector, detect_multiple_async
    from detkit.detection.yolov8 import YOLOv8Detector

    assert AsyncDetector is detkit.AsyncDetector
    assert detect_multiple_async is detkit.detect_multiple_async
    assert YOLOv8Detector is detkit.YOLOv8Detector


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        detkit.nothing  # noqa: B018
