"""`DetectPanel`: drop pictures, choose a model, see boxes and a table, take both home.

For people who do not write code, with files that nobody has looked at. What may come in is the
inbox's decision, reading is `decode_image`'s, what goes out `detected_pictures`'; `picture_queue`
detects in the background. This file joins them to controls.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets

from detkit.api.async_detector import AsyncDetector
from detkit.errors import ItemFailure
from detkit.widgets.background_job import End, Job
from detkit.widgets.cards import picture_html
from detkit.widgets.detect_controls import OTHER_MODEL, DetectControls, found_html
from detkit.widgets.detected_pictures import (
    DetectedPicture,
    found_table,
    pictures_file,
    table_file,
)
from detkit.widgets.file_exchange import FileExchange
from detkit.widgets.inbox import Limits, Upload
from detkit.widgets.panel import Panel
from detkit.widgets.picture_queue import GIVEN_MODEL, SAMPLE_MODEL, PictureQueue
from detkit.widgets.pictures import encode_jpeg

if TYPE_CHECKING:
    import pandas as pd

_PAGE_SIZE = 6
_WIDTH_PX, _ALONE_PX = 400, 800


class DetectPanel(Panel):
    """Detects in pictures that a person drops onto it.

    The model is loaded with the first picture. Every picture is read strictly and within `limits`;
    one that cannot be read costs no other its result.

    Args:
        model: "sample model" (the embedded one), the path of a model file, the name of an official
            model such as "yolov8n.pt", or a detector, which stays open if it is an
            `AsyncDetector`.
        confidence_threshold: Where the slider stands at first.
        limits: How much may be dropped.

    Attributes:
        parts: The widgets, by name.
        pictures: What was dropped, in order, with its outcome.

    Example:
        >>> panel = DetectPanel()  # doctest: +SKIP
        >>> panel  # doctest: +SKIP
        >>> panel.table  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any = SAMPLE_MODEL,
        *,
        confidence_threshold: float = 0.25,
        limits: Limits | None = None,
    ) -> None:
        super().__init__("Detect objects in pictures")
        is_name = hasattr(model, "__fspath__") or isinstance(model, str)
        given = None if is_name else model
        chosen = str(model) if is_name else GIVEN_MODEL
        inner = model.detector if isinstance(model, AsyncDetector) else model
        name = "" if is_name else f"The model of this notebook ({type(inner).__name__})"
        self.limits = limits or Limits()
        self.pictures: list[DetectedPicture] = []
        self.page = 0
        self._saving: Job | None = None
        self.parts = DetectControls(name, chosen, confidence_threshold)
        self.exchange = FileExchange(self.limits, self._held, self.add, self._refused, self.guard)
        self._queue = PictureQueue(
            given, chosen, self.limits.max_pixels, self._progressed, self._model_failed
        )
        self._cards = tuple(ipywidgets.HTML() for _ in range(_PAGE_SIZE))
        self._bind()
        self.fill(self.parts.layout(self.exchange.zone, self._cards))
        self._draw()

    def _bind(self) -> None:
        parts = self.parts
        self.on_change(parts.model, self._model_chosen)
        self.on_change(parts.path, self._model_chosen)
        self.on_change(parts.confidence, lambda _: self.screen.post("pictures", self._draw))
        self.on_click(parts.stop, self.stop)
        self.on_click(parts.clear, self.clear)
        self.on_click(parts.previous, lambda: self.turn_to(self.page - 1))
        self.on_click(parts.next, lambda: self.turn_to(self.page + 1))
        self.on_click(parts.save_pictures, self.download_pictures)
        self.on_click(parts.save_table, self.download_table)

    # -- what the controls do --------------------------------------------------------------------

    def add(self, picture_file: str | os.PathLike[str] | Upload) -> None:
        """Take a picture file and detect in it, in the background.

        Raises:
            OSError: If a path cannot be read.
        """
        if not isinstance(picture_file, Upload):
            path = Path(picture_file)
            picture_file = Upload(path.name, path.read_bytes())
        picture = DetectedPicture(picture_file)
        self.pictures.append(picture)
        self._queue.put([picture])
        self.screen.post("pictures", self._draw)

    def clear(self) -> None:
        """Take all pictures away."""
        self._queue.stop()
        self.pictures.clear()
        self.clear_error()
        self.turn_to(0)

    def stop(self) -> None:
        """Detect in no more pictures; those that are done stay."""
        self._queue.stop()
        self.screen.post("pictures", self._draw)

    def turn_to(self, page: int) -> None:
        """Show a page, counted from 0; the nearest there is."""
        self.page = page
        self.screen.post("pictures", self._draw)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until every picture is done and shows; whether they are."""
        return self._queue.wait(timeout_s) and self.screen.flush()

    @property
    def table(self) -> pd.DataFrame:
        """Every box at the confidence of the slider; see `found_table`."""
        return found_table(self.pictures, self.parts.confidence.value)

    def download_table(self) -> None:
        """Have the browser save the table as CSV.

        Raises:
            RuntimeError: If there is no picture, or no browser.
        """
        if not self.pictures:
            raise RuntimeError("there is no table to download yet: add pictures first")
        self.exchange.save("objects.csv", "text/csv", table_file(self.table))

    def download_pictures(self) -> None:
        """Have the browser save the annotated pictures; made in the background.

        Raises:
            RuntimeError: If a download is being made.
        """
        if self._saving is not None and self._saving.is_running:
            raise RuntimeError("the pictures are being put together: wait a moment")
        pictures, threshold = tuple(self.pictures), float(self.parts.confidence.value)

        async def make() -> None:
            name, kind, data = await asyncio.to_thread(
                pictures_file, pictures, threshold, self.limits.max_pixels, self._is_open
            )
            self.screen.post("save", lambda: self.exchange.save(name, kind, data))
            self._say_later(f"{name} is on its way to your downloads")

        self.say("putting the pictures together …")
        self._saving = Job(make, self._saving_ended)
        self._saving.start()

    # -- what happens in the background ----------------------------------------------------------

    def _model_chosen(self, _: object) -> None:
        self.parts.show_path()
        name = self.parts.chosen_model()
        if self.parts.model.value == OTHER_MODEL and not name:
            self.say("Write the path of a model file, and press Enter.")
            return
        self.clear_error()
        for picture in self.pictures:
            picture.outcome = None
        self._queue.use_model(name, self.pictures)
        self.screen.post("pictures", self._draw)

    def _progressed(self) -> None:
        self.screen.post("pictures", self._draw)

    def _model_failed(self, error: BaseException) -> None:
        self.screen.post("error", lambda: self.show_error(error))
        self._progressed()

    def _saving_ended(self, _: End, error: BaseException | None) -> None:
        if error is not None:
            self.screen.post("error", lambda: self.show_error(error))

    def _say_later(self, text: str) -> None:
        self.screen.post("said", lambda: self.say(text))

    def _is_open(self) -> bool:
        return not self.is_closed

    def _held(self) -> tuple[int, int]:
        return len(self.pictures), sum(len(p.upload.data) for p in self.pictures)

    def _refused(self, problems: Sequence[str]) -> None:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        self.show_error(f"Not added: {'; '.join(problems[:3])}{more}")

    # -- on the screen ---------------------------------------------------------------------------

    def _draw(self) -> None:
        num_pages = max(1, -(-len(self.pictures) // _PAGE_SIZE))
        self.page = min(max(0, self.page), num_pages - 1)
        shown = self.pictures[self.page * _PAGE_SIZE :][:_PAGE_SIZE]
        width_px = _ALONE_PX if len(self.pictures) == 1 else _WIDTH_PX
        for card, picture in zip(self._cards, shown, strict=False):
            card.value = self._picture(picture, width_px)
            card.layout.display, card.layout.margin = "block", "0 10px 10px 0"
        for card in self._cards[len(shown) :]:
            card.value, card.layout.display = "", "none"
        self.parts.show_page(self.page, num_pages)
        self.parts.table.value = found_html(self.table)
        self.parts.stop.disabled = not self._queue.is_busy
        self.parts.clear.disabled = not self.pictures
        self.parts.allow_downloads(any(p.outcome is not None for p in self.pictures))
        self.say(self._summary())

    def _picture(self, picture: DetectedPicture, width_px: int) -> str:
        name, problem = picture.upload.name, picture.problem()
        result = picture.visible(self.parts.confidence.value)
        if picture.small is None:
            return picture_html(None, f"{name}: {self._still_to_come()}", problem, width_px)
        caption = name if problem else f"{name}: {self._still_to_come()}"
        if result is not None:
            caption = f"{name}: {len(result)} object{'' if len(result) == 1 else 's'}"
        jpeg = encode_jpeg(picture.small.drawn(result))
        return picture_html(jpeg, caption, problem, width_px)

    def _still_to_come(self) -> str:
        return "waiting …" if self._queue.is_busy else "not detected"

    def _summary(self) -> str:
        if not self.pictures:
            return f"No pictures yet; up to {self.limits.max_files} at a time."
        done = [p for p in self.pictures if p.outcome is not None]
        failed = sum(isinstance(p.outcome, ItemFailure) for p in done)
        results = [p.visible(self.parts.confidence.value) for p in done]
        num_objects = sum(len(r) for r in results if r is not None)
        text = f"{len(done)} of {len(self.pictures)} pictures done · {num_objects} objects"
        text += f" · {failed} failed" if failed else ""
        return f"{text} · {self._queue.activity}" if self._queue.activity else text

    def fallback_html(self) -> str:
        """The pictures shown and the table, for a saved notebook where widgets do not live."""
        cards = "".join(card.value for card in self._cards if card.value)
        if not cards:
            return f"<p>{escape(self.title)}</p>"
        flex = f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cards}</div>'
        return flex + str(self.parts.table.value)

    def stop_work(self) -> None:
        """End detecting, and the detector if it was made here."""
        self._queue.close()
        if self._saving is not None:
            self._saving.cancel()
        self.exchange.close()
