"""`PictureSource`: pictures that are at hand or come one by one, as a source of frames.

Owns lists, stacks, iterators, files and asynchronous iterators of pictures. Knows nothing of
videos or of which files a name stands for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sized
from concurrent.futures import CancelledError, Future
from typing import TypeAlias

import numpy as np

from detkit.addresses import without_credentials
from detkit.errors import ImageDecodeError
from detkit.image_files import decode_image
from detkit.images import RGBImage
from detkit.video.frames import Frame, FrameSource, SourceEvent

Picture: TypeAlias = "Frame | RGBImage | str | os.PathLike[str]"

# The same as a buffer of reading ahead may be waited for when it is closed.
_CLOSE_TIMEOUT_S = 0.5


class PictureSource(FrameSource):
    """Frames, uint8 RGB arrays or image files, in the order they come.

    A `Frame` stays as it is. Anything else becomes one with its position as `frame_index`, no
    time, and this source's name. A file that cannot be decoded is left out: its index is missing,
    an event tells why, and `status` is "corrupt" in the end. An iterator is closed with the source.

    Args:
        pictures: Any iterable of these, also an endless one, or an array of shape (N, H, W, 3).
        source_id: Name of the source; by default that of its first frame.
    """

    def __init__(self, pictures: Iterable[Picture], source_id: str = "") -> None:
        self.source_id = without_credentials(source_id)
        self._pictures = pictures
        self._closed = False
        self.can_restart = not isinstance(pictures, Iterator)
        if isinstance(pictures, Sized):
            self.expected_frames = len(pictures)
        if isinstance(pictures, np.ndarray):
            self.height, self.width = pictures.shape[1:3]

    def __iter__(self) -> Iterator[Frame]:
        self.num_damaged, self.status = 0, "interrupted"
        try:
            for index, picture in enumerate(self._pictures):
                if self._closed:
                    return
                frame = self._frame(picture, index)
                if frame is not None:
                    yield frame
            self.status = "corrupt" if self.num_damaged else "complete"
        finally:
            close = getattr(self._pictures, "close", None)
            if close is not None:
                close()

    def _frame(self, picture: Picture, index: int) -> Frame | None:
        if isinstance(picture, Frame):
            return picture
        if isinstance(picture, (str, os.PathLike)):
            try:
                picture = decode_image(picture)
            except ImageDecodeError as error:
                self.num_damaged += 1
                self.tell(SourceEvent("damaged", index, str(error)))
                return None
        return Frame(picture, self.source_id, index, None)

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Where an asynchronous iterator is to run; it concerns no other pictures."""
        if isinstance(self._pictures, AsyncPictures):
            self._pictures.run_on(loop)

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._closed = True
        if isinstance(self._pictures, AsyncPictures):
            self._pictures.stop()

    def __repr__(self) -> str:
        count = "?" if self.expected_frames is None else str(self.expected_frames)
        return f"<PictureSource {self.source_id!r}, {count} pictures>"


class AsyncPictures(Iterator[Picture]):
    """An asynchronous iterator as a plain one, for the thread that reads.

    The iterator itself runs on the event loop given to `run_on`, which must not be blocked by
    who reads; without one, on a loop of its own. `close` is allowed from any thread.
    """

    def __init__(self, pictures: AsyncIterator[Picture]) -> None:
        self._pictures = pictures
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owns_loop = False
        self._next: Future[Picture] | None = None
        self._closed = False

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the iterator on this loop; call it before the first item is asked for."""
        self._loop = loop

    def __next__(self) -> Picture:
        if self._closed:
            raise StopIteration
        if self._loop is None:
            self._loop, self._owns_loop = asyncio.new_event_loop(), True
        try:
            if self._owns_loop:
                return self._loop.run_until_complete(_next_of(self._pictures))
            self._next = asyncio.run_coroutine_threadsafe(_next_of(self._pictures), self._loop)
            if self._closed:
                self._next.cancel()
            return self._next.result()
        except (StopAsyncIteration, CancelledError):
            raise StopIteration from None

    def stop(self) -> None:
        """Wake a reader that waits for the next item. It ends there."""
        self._closed = True
        if self._next is not None:
            self._next.cancel()

    def close(self) -> None:
        """Close the iterator too, on its loop. For the thread that reads."""
        self.stop()
        end = getattr(self._pictures, "aclose", None)
        if end is None or self._loop is None or self._loop.is_closed():
            return
        if self._owns_loop:
            self._loop.run_until_complete(end())
            self._loop.close()
            return
        with contextlib.suppress(Exception):  # the loop may be on its own way out
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(_CLOSE_TIMEOUT_S)


async def _next_of(pictures: AsyncIterator[Picture]) -> Picture:
    """The built-in `anext` as a coroutine, which both kinds of running one take."""
    return await pictures.__anext__()
