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

from typing import TYPE_CHECKING, Any

from detkit.samples.names import CLASS_NAMES

if TYPE_CHECKING:
    from detkit.samples.clip import clip
    from detkit.samples.model import sample_detector, sample_model_path
    from detkit.samples.scene import sample_images, scene

__all__ = [
    "CLASS_NAMES",
    "clip",
    "sample_detector",
    "sample_images",
    "sample_model_path",
    "scene",
]

_HOME = {
    "clip": "clip",
    "sample_detector": "model",
    "sample_images": "scene",
    "sample_model_path": "model",
    "scene": "scene",
}


def __getattr__(name: str) -> Any:
    # The renderer needs OpenCV; importing this package must not.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
