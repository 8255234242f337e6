"""Tells a running IPython how results look. `displays` is loaded when one is first displayed.

A result itself knows no HTML, so the front end asks here. `import detkit` registers it where
IPython is already running, as in every notebook, and changes nothing anywhere else. A terminal
shows plain text either way. Knows IPython's formatters by what they can do; imports none of it.
"""

from __future__ import annotations

import sys
from typing import Any

from detkit.errors import ItemFailure
from detkit.notebook.outcomes import is_outcome
from detkit.results import DetectionResult

# A longer list is looked at no further than this to see whether it holds results.
_MAX_LOOKED_AT = 1000
_PICTURE = "detkit.notebook.figures.Picture"


def register() -> bool:
    """Show results as pictures and tables in this IPython session; idempotent.

    Returns:
        Whether there is such a session.
    """
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    display_formatter = getattr(shell, "display_formatter", None)
    if display_formatter is None:
        return False
    html = display_formatter.formatters["text/html"]
    html.for_type(DetectionResult, _result)
    html.for_type(ItemFailure, _failure)
    html.for_type("detkit.pipeline.images.ImageRecord", _record)
    html.for_type("detkit.errors.PartialBatchError", _partial)
    # Pictures know how they are shown; the inline backend knows only figures, and would crop them.
    display_formatter.formatters["image/png"].for_type(_PICTURE, _png)
    display_formatter.formatters["image/jpeg"].for_type(_PICTURE, _jpeg)
    before = html.for_type(list, None)
    if not isinstance(before, _ListOfResults):
        html.for_type(list, _ListOfResults(before))
    return True


def _result(result: DetectionResult) -> str:
    from detkit.notebook.displays import result_html

    return result_html(result)


def _failure(failure: ItemFailure) -> str:
    from detkit.notebook.displays import failure_html

    return failure_html(failure)


def _record(record: Any) -> str | None:
    from detkit.notebook.displays import failure_html, result_html

    if record.failure is not None:
        return failure_html(record.failure, record.image)
    return None if record.result is None else result_html(record.result, record.image)


def _png(picture: Any) -> Any:
    return picture._repr_png_()


def _jpeg(picture: Any) -> Any:
    return picture._repr_jpeg_()


def _partial(error: Any) -> str:
    from detkit.notebook.displays import gallery_html

    return gallery_html(error.outcomes)


class _ListOfResults:
    """Shows a list that holds nothing but results and failures; any other stays what it was."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, entries: list[Any]) -> Any:
        if entries and all(_is_outcome(entry) for entry in entries[:_MAX_LOOKED_AT]):
            return _gallery(entries)
        return None if self._before is None else self._before(entries)


def _is_outcome(entry: object) -> bool:
    return not isinstance(entry, tuple) and is_outcome(entry)


def _gallery(entries: list[Any]) -> str | None:
    from detkit.notebook.displays import gallery_html
    from detkit.notebook.outcomes import outcome_list

    try:
        outcomes = outcome_list(entries)
    except TypeError:
        return None
    return gallery_html(outcomes, [getattr(entry, "image", None) for entry in entries[:100]])
