"""`ResultBrowser`: page through the results of a run, look closer, and say which are right.

Which images to show is the catalogue's decision, how a card looks is the cards'; this file joins
them, draws the pictures of the page shown and no other, and keeps selection and marks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from detkit.errors import ItemFailure, PartialBatchError, describe
from detkit.widgets.browsed_images import BrowsedImages
from detkit.widgets.browser_controls import BrowserControls
from detkit.widgets.cards import Card, Mark, picture_html
from detkit.widgets.catalogue import Catalogue, Query, outcomes_of
from detkit.widgets.panel import Panel
from detkit.widgets.pictures import encode_jpeg
from detkit.widgets.reviews import Reviewed, coco_dataset, marks_dataframe

if TYPE_CHECKING:
    from detkit.image_files import ImageSource
    from detkit.images import RGBImage
    from detkit.results import DetectionResult
_THUMBNAIL_WH = (250, 190)
_LARGE_WH = (960, 720)


class ResultBrowser(Panel):
    """Thumbnails of a run with their boxes: filter, sort, enlarge, select, accept and reject.

    Images are read and drawn one page at a time.

    Args:
        images: uint8 RGB arrays, paths, or bytes of image files.
        results: One result or failure per image, records of `detect_images`, or the
            `PartialBatchError` that holds them.
        sources: One name per image; by default what the result's metadata calls "source", the
            path, or "image 3".
        page_size: Thumbnails on a page.

    Attributes:
        parts: The widgets, by name.
        marks: "accept" or "reject" by image index.
        enlarged: Index of the image shown large, or `None`.

    Raises:
        ValueError: If there are no images, or another number of results or sources.

    Example:
        >>> browser = ResultBrowser(images, results)  # doctest: +SKIP
        >>> browser  # doctest: +SKIP
        >>> browser.selection  # doctest: +SKIP
    """

    def __init__(
        self,
        images: Sequence[RGBImage | ImageSource],
        results: Iterable[object] | PartialBatchError,
        sources: Sequence[str] | None = None,
        *,
        page_size: int = 12,
    ) -> None:
        outcomes = outcomes_of(results)
        if not outcomes or len(outcomes) != len(images):
            raise ValueError(f"{len(outcomes)} results were given for {len(images)} images")
        if sources is not None and len(sources) != len(images):
            raise ValueError(f"{len(sources)} sources were given for {len(images)} images")
        if page_size < 1:
            raise ValueError(f"page_size must be at least 1, got {page_size}")
        super().__init__("Results")
        self._images = BrowsedImages(images, sources, page_size + 1)
        self._catalogue = Catalogue(outcomes)
        self._selected: set[int] = set()
        self.marks: dict[int, Mark] = {}
        self.enlarged: int | None = None
        self._order = self._catalogue.select(Query())
        self._counts = self._catalogue.counts(Query())
        self._page_size = page_size
        self.page = 0
        self.parts = BrowserControls(self._catalogue.class_names)
        self.cards = [
            Card(self.on_click, self.on_change, self.enlarge, self.select, self.mark)
            for _ in range(page_size)
        ]
        self._bind()
        self.fill(self.parts.layout([card.box for card in self.cards]))
        self._search(None)

    def _bind(self) -> None:
        parts = self.parts
        for control in (parts.show, parts.order, parts.class_name, parts.confidence, parts.count):
            self.on_change(control, self._search)
        self.on_click(parts.previous, lambda: self.turn_to(self.page - 1))
        self.on_click(parts.next, lambda: self.turn_to(self.page + 1))
        self.on_change(parts.page, self._page_asked)
        self.on_click(parts.shrink, lambda: self.enlarge(None))
        self.on_click(parts.select_all, self.select_all)
        self.on_click(parts.select_none, self.select_none)
        self.on_click(parts.save, self.save_marks)
        self.on_click(parts.save_coco, lambda: self.save_marks("marks.json"))

    # -- what the controls do --------------------------------------------------------------------

    @property
    def query(self) -> Query:
        """What the controls ask for."""
        parts = self.parts
        return Query(
            parts.show.value,
            parts.order.value,
            parts.class_name.value or None,
            parts.confidence.value,
            parts.count.value,
        )

    @property
    def shown(self) -> list[int]:
        """Indices of the images that pass the filters, in order, on all pages."""
        indices: list[int] = self._order.tolist()
        return indices

    @property
    def num_pages(self) -> int:
        """Pages that there are, at least 1."""
        return max(1, -(-len(self._order) // self._page_size))

    def _search(self, _: object) -> None:
        self._order = self._catalogue.select(self.query)
        self._counts = self._catalogue.counts(self.query)
        self.turn_to(min(self.page, self.num_pages - 1))

    def turn_to(self, page: int) -> None:
        """Show a page, counted from 0; the nearest there is."""
        self.page = min(max(0, page), self.num_pages - 1)
        self.screen.post("page", self._draw_page)
        if self.enlarged is not None:
            self.enlarge(self.enlarged)

    def _page_asked(self, number: int) -> None:
        if not self.parts.is_showing:
            self.turn_to(number - 1)

    def enlarge(self, index: int | None) -> None:
        """Show one image large, with names and scores; `None` takes it away."""
        self.enlarged = index
        self.screen.post("large", self._draw_large)

    def select(self, index: int, is_selected: bool = True) -> None:
        """Put an image into the selection, or take it out."""
        (self._selected.add if is_selected else self._selected.discard)(index)
        self.screen.post("cards", self._sync_cards)

    def select_all(self) -> None:
        """Select what passes the filters, on all pages."""
        self._selected.update(self.shown)
        self.screen.post("cards", self._sync_cards)

    def select_none(self) -> None:
        """Empty the selection."""
        self._selected.clear()
        self.screen.post("cards", self._sync_cards)

    def mark(self, index: int, mark: Mark) -> None:
        """Accept or reject an image; an empty mark takes it back."""
        if mark:
            self.marks[index] = mark
        else:
            self.marks.pop(index, None)
        self.screen.post("cards", self._sync_cards)

    def save_marks(self, path: str | os.PathLike[str] = "marks.csv") -> Path:
        """Write what was reviewed: `.csv` all marks, `.json` the accepted images as COCO.

        The CSV has the columns `image_index`, `source`, `mark`. The COCO file holds the boxes that
        the controls let through, see `coco_dataset`.

        Raises:
            RuntimeError: If nothing is marked yet.
            ValueError: If the path ends in neither.
            OSError: If the file cannot be written.
        """
        if not self.marks:
            raise RuntimeError("nothing is marked yet: press ✓ or ✗ below a picture")
        target = Path(path)
        reviewed = [
            Reviewed(index, self._name(index), self.marks[index], self._visible(index))
            for index in sorted(self.marks)
        ]
        if target.suffix.lower() == ".json":
            dataset = coco_dataset(reviewed, self._images.size_hw)
            target.write_text(json.dumps(dataset), encoding="utf-8")
        elif target.suffix.lower() == ".csv":
            marks_dataframe(reviewed).to_csv(target, index=False)
        else:
            raise ValueError(f"marks are saved as .csv or .json, got {target.name!r}")
        self.clear_error()
        self.say(f"wrote {len(reviewed)} marks to {target}")
        return target

    def _visible(self, index: int) -> DetectionResult | None:
        """What of a result passes the controls; `None` for a failed image."""
        outcome = self._catalogue.outcomes[index]
        if isinstance(outcome, ItemFailure):
            return None
        query = self.query
        classes = None if query.class_name is None else [query.class_name]
        return outcome.filter(confidence_threshold=query.confidence_threshold, classes=classes)

    @property
    def selection(self) -> pd.DataFrame:
        """One row per selected image, in input order.

        Returns:
            Columns `image_index`, `source`, `status` ("ok", "failed"), `num_detections` and
            `best_confidence` at the threshold and class of the controls, `mark`.
        """
        best = self._catalogue.best_scores(self.query)
        rows = []
        for index in sorted(self._selected):
            failed = isinstance(self._catalogue.outcomes[index], ItemFailure)
            rows.append(
                {
                    "image_index": index,
                    "source": self._name(index),
                    "status": "failed" if failed else "ok",
                    "num_detections": None if failed else int(self._counts[index]),
                    "best_confidence": float(best[index]) if best[index] >= 0 else np.nan,
                    "mark": self.marks.get(index, ""),
                }
            )
        columns = ["image_index", "source", "status", "num_detections", "best_confidence", "mark"]
        table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
        typed: pd.DataFrame = table.astype({"image_index": "int64", "num_detections": "Int64"})
        return typed

    # -- on the screen ---------------------------------------------------------------------------

    def _draw_page(self) -> None:
        start = self.page * self._page_size
        indices = self.shown[start : start + self._page_size]
        for card, index in zip(self.cards, indices, strict=False):
            html = self._html(index, _THUMBNAIL_WH, show_labels=False)
            card.show(index, html, self._name(index))
        for card in self.cards[len(indices) :]:
            card.clear()
        self.parts.show_page(self.page, self.num_pages)
        self._sync_cards()

    def _sync_cards(self) -> None:
        for card in self.cards:
            if card.index is not None:
                card.sync(card.index in self._selected, self.marks.get(card.index, ""))
        self._say_counts()

    def _draw_large(self) -> None:
        index = self.enlarged
        html = "" if index is None else self._html(index, _LARGE_WH, show_labels=True)
        self.parts.show_large(html)

    def _html(self, index: int, size_wh: tuple[int, int], *, show_labels: bool) -> str:
        """The picture of one image as it is now, or why there is none."""
        outcome, name = self._catalogue.outcomes[index], self._name(index)
        problem, result = "", self._visible(index)
        if isinstance(outcome, ItemFailure):
            problem = describe(outcome.exception)
        caption = name
        if result is not None:
            caption = f"{name}: {len(result)} object{'' if len(result) == 1 else 's'}"
        jpeg = None
        try:
            small = self._images.small(index, size_wh)
            jpeg = encode_jpeg(small.drawn(result, show_labels=show_labels))
        except Exception as error:  # noqa: BLE001  one bad file must not cost the page
            problem = problem or describe(error)
        return picture_html(jpeg, caption, problem, size_wh[0])

    def _name(self, index: int) -> str:
        return self._images.name(index, self._catalogue.outcomes[index])

    def _say_counts(self) -> None:
        self.say(
            f"{len(self._order):,} of {len(self._catalogue):,} images · "
            f"{len(self._selected):,} selected · {len(self.marks):,} marked"
        )

    def fallback_html(self) -> str:
        """The page shown, without controls, for a saved notebook where widgets do not live."""
        cards = (card.picture.value for card in self.cards if card.index is not None)
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(cards)}</div>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        self.screen.flush()
        return super()._repr_mimebundle_(include, exclude)
