"""`CameraSource`: a camera on this machine, by its number.

Owns the device between opening and closing. Knows OpenCV's capture.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detkit.errors import SourceError, VideoOpenError
from detkit.images import RGBImage
from detkit.video.live import LiveSource, Reconnect

_READ_TIMEOUT_S = 2
_DEVICES = Path("/dev")


class CameraSource(LiveSource):
    """A camera of this machine. Its frames have the time since the first one.

    Args:
        index: Number of the camera, from 0.
        reconnect: How a camera that was unplugged is found again; `None` to end there.

    Raises:
        SourceError: If `index` is not a whole number from 0.
        VideoOpenError: While iterating, if there is no such camera, it may not be opened, or
            another program has it.
    """

    def __init__(
        self,
        index: int,
        *,
        reconnect: Reconnect | None = Reconnect(),  # noqa: B008  frozen
    ) -> None:
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise SourceError(f"a camera is a number from 0, got {index!r}")
        super().__init__(f"camera {index}", reconnect=reconnect)
        self._index = index

    def connect(self) -> CameraConnection:
        """See `LiveSource.connect`."""
        why = _unusable(self._index) if sys.platform == "linux" else None
        if why is not None:
            raise VideoOpenError(f"{self.source_id}: {why}")
        # OpenCV waits 10 s for a frame on Linux; it reads this when it opens its first camera.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(_READ_TIMEOUT_S))
        # By its name, or the others that are tried next complain on the terminal.
        backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
        capture = cv2.VideoCapture(self._index, backend)
        if not capture.isOpened():
            capture.release()
            raise VideoOpenError(
                f"{self.source_id}: cannot be opened; another program may be using it"
            )
        return CameraConnection(capture)


class CameraConnection:
    """See `Connection`."""

    is_finite = False
    expected_frames: int | None = None
    num_damaged = 0

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.fps = Fraction(rate).limit_denominator(1001) if rate and rate > 0 else None
        self.end = ""

    def pictures(self) -> Iterator[tuple[RGBImage, float | None]]:
        """See `Connection.pictures`."""
        while True:
            is_good, picture = self._capture.read()
            if not is_good:
                self.end = "the camera gives no more pictures"
                return
            yield np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8), None

    def close(self) -> None:
        """See `Connection`."""
        self._capture.release()


def _unusable(index: int) -> str | None:
    """What Linux says of a device that cannot be opened; OpenCV would not tell."""
    device = _DEVICES / f"video{index}"
    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            return f"{device} is no camera"
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK))
    except FileNotFoundError:
        return f"there is no {device}"
    except PermissionError:
        return f"{device} may not be opened by this user, who is perhaps not in its group, `video`"
    except OSError as error:
        return f"{device} cannot be opened ({error.strerror})"
    return None
