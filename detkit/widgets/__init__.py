"""Panels for notebooks: drop pictures, watch a video, browse results, turn a benchmark's sliders.

Each panel is shown as the last value of a cell or with `display`. Everything is imported when it
is first used; panels load ipywidgets, tables load pandas.

Controls answer while a cell is busy, also those of a panel that this cell has shown, where their
messages go beside the cells: with ipykernel 7 in JupyterLab 4.4 and Notebook 7.4 or later, unless
their setting "Kernel Comms over subshells" is "disabled". Elsewhere pictures go on, and what a
person does is taken up when the cell ends.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detkit.widgets.benchmark_panel import BenchmarkPanel
    from detkit.widgets.detect_panel import DetectPanel
    from detkit.widgets.result_browser import ResultBrowser
    from detkit.widgets.video_preview import VideoPreview

_HOMES = {
    "BenchmarkPanel": "benchmark_panel",
    "DetectPanel": "detect_panel",
    "ResultBrowser": "result_browser",
    "VideoPreview": "video_preview",
}

__all__ = ["BenchmarkPanel", "DetectPanel", "ResultBrowser", "VideoPreview"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
