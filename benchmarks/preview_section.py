"""What `panel_benchmark.json` says of the preview in a notebook, beside what was asked of it.

Reads one file of `results/`; measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detkit.benchmark.tables import Table

HEAD = """## The preview in a notebook

1280 x 720 frames through the embedded model as fast as it can, on the same cores as everything
else. "Kernel" is a front that confirms pictures and draws none: what the panel itself costs.
"Chromium" is a JupyterLab in a browser that has no graphics card and draws on those cores too.
"""


def preview_section(folder: Path) -> str:
    """The section as Markdown; empty if nothing was measured."""
    path = folder / "panel_benchmark.json"
    if not path.is_file():
        return ""
    facts = json.loads(path.read_text(encoding="utf-8"))
    rows = [*_rates(facts), *_slider(facts.get("slider")), *_soak(facts.get("soak"))]
    table = Table("The preview in a notebook", ("asked", "measured", "answer"), tuple(rows))
    return f"{HEAD}\n{table.to_markdown().replace('---:', '---')}\n"


_Row = tuple[str, str, str]


def _answer(is_kept: bool) -> str:
    return "kept" if is_kept else "not kept here"


def _rates(facts: dict[str, Any]) -> list[_Row]:
    rows = []
    for name, label in (("kernel_alone", "kernel"), ("in_chromium", "Chromium")):
        found = facts.get(name)
        if found is None:
            continue
        shown, visible, hidden = (
            found[key] for key in ("displayed_per_s", "cost_visible", "cost_hidden")
        )
        parts = [f"{who} {ms:.1f}" for who, ms in found["core_ms_per_picture"].items()]
        rows += [
            (f"at least 15 pictures a second ({label})", f"{shown:.1f}", _answer(shown >= 15)),
            (
                f"at most 5 % of detection while visible ({label})",
                f"{100 * visible:.1f} % of {found['detected_per_s_without_panel']:.0f} images/s; "
                f"core-ms a picture: {', '.join(parts)}",
                _answer(visible <= 0.05),
            ),
            (
                f"at most 1 % while hidden ({label})",
                f"{100 * hidden:.1f} %",
                _answer(hidden <= 0.01),
            ),
        ]
    return rows


def _slider(found: dict[str, int] | None) -> list[_Row]:
    if found is None:
        return []
    return [
        (
            f"a move of a slider shows within 150 ms ({name})",
            f"median {found[f'{name}_median_ms']} ms, worst {found[f'{name}_worst_ms']} ms",
            _answer(found[f"{name}_worst_ms"] <= 150),
        )
        for name in ("paused", "playing")
    ]


def _soak(found: dict[str, Any] | None) -> list[_Row]:
    if found is None:
        return []
    growth = found["kernel_growth_mb"], found["page_heap_growth_mb"], found["browser_growth_mb"]
    words = "kernel {:+.1f}, page {:+.1f}, browser {:+.1f} MB".format(*growth)
    pictures = f"{found['num_displayed']} pictures, {found['date']}"
    minutes = f"{found['minutes']:g} minutes"
    size = found["saved_notebook_mb"]
    return [
        (
            f"memory flat over {minutes}, later half less earlier",
            f"{words} ({pictures})",
            # A garbage collector leaves as much behind from one time to the next.
            _answer(max(growth[:2]) <= 5 and growth[2] <= 50),
        ),
        ("a saved notebook of at most 2 MB", f"{size:.2f} MB", _answer(size <= 2)),
    ]
