"""The registry: every contestant of the comparison, one file each.

To add one, write a file (see `contract.py`) and put its name here.
"""

from __future__ import annotations

from importlib import import_module, metadata
from types import ModuleType

# The first that takes part in a scenario is what outputs and speeds are compared with.
REGISTRY = (
    "ultralytics_loop",
    "ultralytics_folder",
    "ultralytics_stream",
    "ultralytics_threads",
    "ultralytics_openvino",
    "supervision_loop",
    "supervision_video",
    "naive_pool",
    "ray_serve",
    "detkit_fp32",
    "detkit_auto",
    "raw_openvino",
    "raw_openvino_alone",
)
SCENARIOS = ("arrays", "folder", "video")
# From a video file to results, and to a video file with boxes: see `video_benchmark.py`.
VIDEO_SCENARIOS = ("file_to_results", "file_to_file")


def load(name: str) -> ModuleType:
    """A contestant's file; its libraries are imported only when it opens."""
    return import_module(f"benchmarks.contestants.{name}")


def contestants_of(scenario: str) -> list[str]:
    """Who takes part, in order."""
    return [name for name in REGISTRY if scenario in load(name).WAYS]


def missing_packages(name: str) -> list[str]:
    """Distributions that a contestant needs and that are not installed."""
    absent = []
    for package in load(name).PACKAGES:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            absent.append(package)
    return absent
