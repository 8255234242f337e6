"""One frame of a preview as words, as a picture file and as the poster of a saved notebook.

Knows results, drawing and files; never a widget or a thread.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

import cv2

from detkit.images import RGBImage
from detkit.results import DetectionResult
from detkit.widgets.overlay import Overlay
from detkit.widgets.pictures import data_url, encode_jpeg
from detkit.widgets.playing import Shown


def caption_of(shown: Shown, result: DetectionResult | None) -> str:
    """Which frame it is and what is in it, in words."""
    frame = shown.frame
    when = "" if frame.pts_seconds is None else f" at {frame.pts_seconds:.2f} s"
    found = "failed"
    if result is not None:
        found = f"{len(result)} object{'' if len(result) == 1 else 's'}"
    return f"frame {frame.frame_index}{when}, {found}"


def save_still(
    shown: Shown,
    result: DetectionResult | None,
    overlay: Overlay,
    path: str | os.PathLike[str] | None,
) -> Path:
    """Write a frame in its full size, with its boxes.

    Args:
        shown: The frame.
        result: Its boxes; `None` if there are none to draw.
        overlay: What is drawn beside them.
        path: Ends in .png or .jpg; by default `snapshot_000017.png` in the working folder.

    Raises:
        ValueError: If the path ends in neither.
        OSError: If it cannot be written.
    """
    target = Path(path or f"snapshot_{shown.frame.frame_index:06d}.png")
    image = shown.frame.image
    picture = image if result is None else overlay.draw(image, result)
    target.write_bytes(_encoded(picture, target.suffix.lower()))
    return target


def _encoded(picture: RGBImage, suffix: str) -> bytes:
    if suffix in (".jpg", ".jpeg"):
        return encode_jpeg(picture, 95)
    if suffix != ".png":
        raise ValueError(f"a snapshot must end in .png or .jpg, got {suffix!r}")
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


def poster_html(jpeg: bytes, caption: str) -> str:
    """A picture for a saved notebook, where widgets do not live. The caption is escaped."""
    text = escape(caption, quote=True)
    return f'<img alt="{text}" title="{text}" src="{data_url(jpeg)}"/>'
