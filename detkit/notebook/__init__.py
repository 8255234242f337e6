"""Results as tables and pictures, and coroutines from any cell.

Everything is imported when it is first used: tables load pandas, pictures load matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detkit.notebook.event_loops import enable_nested_asyncio, run
    from detkit.notebook.grids import show, show_grid
    from detkit.notebook.summaries import summarize
    from detkit.notebook.tables import from_dataframe, images_dataframe, to_dataframe
    from detkit.notebook.worst_cases import show_worst

_HOMES = {
    "enable_nested_asyncio": "event_loops",
    "from_dataframe": "tables",
    "images_dataframe": "tables",
    "run": "event_loops",
    "show": "grids",
    "show_grid": "grids",
    "show_worst": "worst_cases",
    "summarize": "summaries",
    "to_dataframe": "tables",
}

__all__ = [
    "enable_nested_asyncio",
    "from_dataframe",
    "images_dataframe",
    "run",
    "show",
    "show_grid",
    "show_worst",
    "summarize",
    "to_dataframe",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
