"""Results as tables and pictures, and coroutines from any cell.

Everything is imported when it is first used: tables load pandas, pictures load matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detkit.notebook.charts import plot_class_counts, plot_confidence, plot_timeline
    from detkit.notebook.comparing import compare
    from detkit.notebook.converters import (
        from_supervision,
        from_ultralytics,
        to_supervision,
        to_ultralytics,
    )
    from detkit.notebook.cutouts import crops
    from detkit.notebook.event_loops import enable_nested_asyncio, run
    from detkit.notebook.exports import (
        read_parquet,
        read_parquet_facts,
        to_coco,
        write_coco,
        write_csv,
        write_parquet,
    )
    from detkit.notebook.grids import show, show_grid
    from detkit.notebook.ledgers import ledger_dataframe
    from detkit.notebook.summaries import summarize
    from detkit.notebook.tables import from_dataframe, images_dataframe, to_dataframe
    from detkit.notebook.tracks import count_line_crossings, dwell_times, line_crossings
    from detkit.notebook.worst_cases import show_worst

_HOMES = {
    "count_line_crossings": "tracks",
    "dwell_times": "tracks",
    "compare": "comparing",
    "crops": "cutouts",
    "enable_nested_asyncio": "event_loops",
    "from_dataframe": "tables",
    "from_supervision": "converters",
    "from_ultralytics": "converters",
    "images_dataframe": "tables",
    "ledger_dataframe": "ledgers",
    "line_crossings": "tracks",
    "plot_class_counts": "charts",
    "plot_confidence": "charts",
    "plot_timeline": "charts",
    "read_parquet": "exports",
    "read_parquet_facts": "exports",
    "run": "event_loops",
    "show": "grids",
    "show_grid": "grids",
    "show_worst": "worst_cases",
    "summarize": "summaries",
    "to_coco": "exports",
    "to_dataframe": "tables",
    "to_supervision": "converters",
    "to_ultralytics": "converters",
    "write_coco": "exports",
    "write_csv": "exports",
    "write_parquet": "exports",
}

__all__ = [
    "compare",
    "count_line_crossings",
    "crops",
    "dwell_times",
    "enable_nested_asyncio",
    "from_dataframe",
    "from_supervision",
    "from_ultralytics",
    "images_dataframe",
    "ledger_dataframe",
    "line_crossings",
    "plot_class_counts",
    "plot_confidence",
    "plot_timeline",
    "read_parquet",
    "read_parquet_facts",
    "run",
    "show",
    "show_grid",
    "show_worst",
    "summarize",
    "to_coco",
    "to_dataframe",
    "to_supervision",
    "to_ultralytics",
    "write_coco",
    "write_csv",
    "write_parquet",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
