"""Scenes of machine parts on a conveyor belt, with true boxes, and a detector trained on them.

For demos, tests and benchmarks that need pictures, ground truth and a real model without a
network or a download. Everything is rendered from a seed.

Example:
    >>> from detkit.samples import scene
    >>> image, truth = scene(seed=7)
    >>> image.shape, image.dtype
    ((720, 1280, 3), dtype('uint8'))
"""

from __future__ import annotations

# These two bind the functions over the modules of the same name.
from detkit.samples.clip import clip
from detkit.samples.model import sample_detector, sample_model_path
from detkit.samples.names import CLASS_NAMES
from detkit.samples.real_data import RealData, find_real_data
from detkit.samples.scene import sample_images, scene

__all__ = [
    "CLASS_NAMES",
    "RealData",
    "clip",
    "find_real_data",
    "sample_detector",
    "sample_images",
    "sample_model_path",
    "scene",
]
