"""`open_source`: whatever a user names as the place where frames come from, as one `FrameSource`.

Owns the choice among the kinds of sources; each of them is `detkit.video`'s.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from detkit.errors import SourceError
from detkit.pipeline.inputs import IMAGE_SUFFIXES, find_files, is_live_name
from detkit.video.cameras import CameraSource
from detkit.video.frames import FrameSource
from detkit.video.pictures import AsyncPictures, Picture, PictureSource
from detkit.video.sources import VideoSource
from detkit.video.streams import StreamSource, is_address

VideoInput: TypeAlias = (
    "str | os.PathLike[str] | int | FrameSource | Iterable[Picture] | AsyncIterable[Picture]"
)

# Read as a video: detectors of single pictures take the first frame of an animation.
_PICTURES = IMAGE_SUFFIXES - {".gif"}


def open_source(source: VideoInput) -> FrameSource:
    """Choose how frames are read from what is given.

    A path is a video file or, by its ending, one picture; a folder or a pattern such as
    `photos/*.jpg` stands for the pictures in it, by name; a text that begins with rtsp://,
    rtsps://, http:// or https:// is an address, and a whole number a camera. An array is one
    picture (H, W, 3) or a stack of them (N, H, W, 3). Any other iterable, plain or asynchronous,
    gives frames, arrays or paths of pictures. What is a source already stays as it is.

    Args:
        source: One of these. Addresses and cameras are opened when they are iterated.

    Raises:
        VideoOpenError: If a file is no video that can be read.
        SourceError: If it is nothing of the above, or a folder or pattern holds no picture.

    Example:
        >>> open_source([np.zeros((4, 6, 3), np.uint8)] * 3)
        <PictureSource 'frames', 3 pictures>
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _named(source)
    if isinstance(source, int):
        return CameraSource(source)
    if isinstance(source, np.ndarray):
        return _array(source)
    if isinstance(source, AsyncIterable):
        return PictureSource(AsyncPictures(aiter(source)), "")
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, dict, set)):
        return PictureSource(source, "frames" if isinstance(source, (list, tuple)) else "")
    raise SourceError(
        f"no frames can be read from a {type(source).__name__}; give a path, an address, the "
        "number of a camera, an array, or an iterable of frames"
    )


def _named(source: str | os.PathLike[str]) -> FrameSource:
    text = os.fspath(source)
    if not text:  # pathlib takes it for the working folder.
        raise SourceError("the name of the source is empty; give a path, an address or a number")
    if is_address(text):
        return StreamSource(text)
    if is_live_name(text):
        return CameraSource(int(text))
    path = Path(text)
    try:
        is_many = path.is_dir() or (not path.exists() and any(mark in text for mark in "*?["))
        is_picture = path.is_file() and path.suffix.lower() in _PICTURES
    except OSError:  # A name that is too long, a folder that is closed to us: the source tells.
        is_many = is_picture = False
    if is_many or is_picture:
        return PictureSource(list(find_files(text)), text)
    return VideoSource(path)


def _array(array: Any) -> PictureSource:
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype != np.uint8:
        raise SourceError(
            f"an array of frames must be uint8 of shape (N, H, W, 3) or (H, W, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return PictureSource(array if array.ndim == 4 else array[np.newaxis], "frames")
