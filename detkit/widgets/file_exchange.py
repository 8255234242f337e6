"""`FileExchange`: a place to drop pictures, and the way back for files to keep.

The browser's side is `file_exchange.js`. What may come in is the inbox's decision; what goes out
is asked for by the page piece by piece, so that neither direction floods the connection. Knows
ipywidgets; never a picture or a detector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget

from detkit.errors import SourceError
from detkit.widgets.inbox import Inbox, Limits, Upload

_CSS = """
.detkit-drop { border: 2px dashed var(--jp-border-color1, #8888); border-radius: 6px;
  padding: 18px; text-align: center; color: var(--jp-ui-font-color1, inherit); }
.detkit-drop.detkit-over { border-color: #3f9bd8; background: rgba(63, 155, 216, 0.12); }
.detkit-drop button { font: inherit; padding: 5px 14px; border-radius: 3px; cursor: pointer;
  border: 1px solid #1a6fb5; background: #1a6fb5; color: white; }
.detkit-drop button:focus-visible { outline: 2px solid var(--jp-ui-font-color1, #3f9bd8);
  outline-offset: 2px; }
"""


class DropZone(anywidget.AnyWidget):
    """The widget itself; it has no state, only messages."""

    _esm = Path(__file__).with_suffix(".js")
    _css = _CSS


class FileExchange:
    """A `DropZone` behind an `Inbox`.

    Args:
        limits: What may come in.
        held: Says how many files and bytes are held already.
        on_upload: Called with every file that has arrived.
        on_problems: Called with reasons why files were refused, in words.

    Attributes:
        zone: The widget to lay out.
    """

    def __init__(
        self,
        limits: Limits,
        held: Callable[[], tuple[int, int]],
        on_upload: Callable[[Upload], None],
        on_problems: Callable[[Sequence[str]], None],
        guard: Callable[[Callable[[], object]], None],
    ) -> None:
        self._inbox = Inbox(limits)
        self._held, self._on_upload, self._on_problems = held, on_upload, on_problems
        self._view = ""  # the one that spoke last: the person is there
        self._uploader = ""
        self._outgoing = b""
        self.zone = DropZone()
        self.zone.on_msg(lambda _, content, data: guard(lambda: self._heard(content, data)))

    def _heard(self, content: object, buffers: Sequence[memoryview]) -> None:
        match content:
            case {"event": str(event), "view": str(view)}:
                self._view = view
            case _:
                return
        match content:
            case {"event": "offer", "files": files}:
                problems = self._inbox.offer(files, *self._held())
                self._uploader = view
                if problems:
                    self._on_problems(problems)
                self._ask()
            case {"event": "part", "file": file, "offset": offset} if buffers:
                if view == self._uploader:
                    self._received(file, offset, bytes(buffers[0]))
            case {"event": "take", "offset": int(offset)} if 0 <= offset < len(self._outgoing):
                piece = self._outgoing[offset : offset + self._inbox.limits.part_bytes]
                if offset + len(piece) == len(self._outgoing):
                    self._outgoing = b""
                self._tell("bytes", view, [piece])
            case {"event": "bye"} if event and view == self._uploader:
                self._inbox.forget()

    def _received(self, file: object, offset: object, data: bytes) -> None:
        try:
            upload = self._inbox.receive(file, offset, data)
        except SourceError:
            self._tell("done", self._uploader)
            raise
        if upload is not None:
            self._on_upload(upload)
        self._ask()

    def _ask(self) -> None:
        part = self._inbox.wanted
        if part is None:
            self._tell("done", self._uploader)
        else:
            self._tell("want", self._uploader, file=part.file, offset=part.offset, size=part.size)

    def save(self, name: str, media_type: str, data: bytes) -> None:
        """Have the person's browser save a file.

        Raises:
            RuntimeError: If no browser shows this panel.
        """
        if not self._view:
            raise RuntimeError("no browser shows this panel, so there is nowhere to save to")
        self._outgoing = data
        self._tell("save", self._view, name=name, type=media_type, size=len(data))

    def _tell(
        self, event: str, view: str, buffers: Sequence[bytes] = (), **facts: str | int
    ) -> None:
        self.zone.send({"event": event, "view": view, **facts}, list(buffers))

    def close(self) -> None:
        """Take it from the page and forget what is under way."""
        self._inbox.forget()
        self._outgoing = b""
        self.zone.close()
