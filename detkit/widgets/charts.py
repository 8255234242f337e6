"""The chart and the table of a benchmark, as HTML that follows the theme of the page.

Pure: runs in, text out; everything that comes from data is escaped. An SVG rather than a figure:
it takes its ink from the page, so it is readable on light and dark, and nothing global is touched
from whatever thread draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from detkit.widgets.trials import TrialRun, verdicts

_ROW_PX, _LABEL_PX, _WIDTH_PX, _BAR_PX = 24, 250, 880, 330
_LATENCY_PX = _LABEL_PX + _BAR_PX + 110
_MAX_ROWS, _MAX_LABEL_CHARS = 16, 36
_TEXT_HEADS = ("Way", "Model", "Verdict")
_FONT = 'font-family="system-ui, sans-serif" font-size="12" fill="currentColor"'
_BEST, _EQUAL, _OTHER, _LATENCY = "#2ea043", "#3f9bd8", "#8b949e", "#d9822b"


def chart_svg(runs: Sequence[TrialRun], running: TrialRun | None = None) -> str:
    """Throughput bars with their noise, and latency from median to 95th percentile, per run.

    The latest 16 runs, newest last, and below them, paler, the one that is being measured.
    """
    if not runs and running is None:
        return '<p class="detkit-faint">No run yet: press Run, or Sweep to try many settings.</p>'
    said: list[str] = list(verdicts(runs)[-_MAX_ROWS:])
    first = max(0, len(runs) - _MAX_ROWS)
    shown = [*runs[first:], *([] if running is None else [running])]
    said += [] if running is None else ["running"]
    most = max(run.images_per_s + run.noise_per_s for run in shown) or 1.0
    slowest = max((run.latency_p95_ms for run in shown if run.latency_p95_ms > 0), default=1.0)
    rows = []
    for number, (run, verdict) in enumerate(zip(shown, said, strict=True)):
        color = {"best": _BEST, "as good as the best": _EQUAL}.get(verdict, _OTHER)
        y = 26 + number * _ROW_PX
        row = _row(run, first + number + 1, y, color, most, slowest, verdict == "best")
        rows.append(f'<g class="detkit-running" opacity="0.6">{row}</g>' if run is running else row)
    height = 34 + _ROW_PX * len(shown)
    title = escape(_spoken(runs or shown), quote=True)
    return (
        f'<svg class="detkit-chart" role="img" aria-label="{title}" '
        f'viewBox="0 0 {_WIDTH_PX} {height}" width="100%" '
        f'style="max-width:{_WIDTH_PX}px;color:var(--jp-ui-font-color1, inherit)">'
        f'<g {_FONT}><text x="{_LABEL_PX - 8}" y="14" text-anchor="end" font-weight="600">'
        f"way, workers × batch size</text>"
        f'<text x="{_LABEL_PX}" y="14" font-weight="600">images per second</text>'
        f'<text x="{_LATENCY_PX}" y="14" font-weight="600">latency, ms: median–95 %</text>'
        f"{''.join(rows)}</g></svg>"
    )


def _row(
    run: TrialRun, number: int, y: int, color: str, most: float, slowest: float, is_best: bool
) -> str:
    middle = y + _ROW_PX / 2
    length = _BAR_PX * run.images_per_s / most
    noise = _BAR_PX * run.noise_per_s / most
    weight = ' font-weight="700"' if is_best else ""
    room = _WIDTH_PX - _LATENCY_PX - 70
    p50, p95 = (room * value / slowest for value in (run.latency_p50_ms, run.latency_p95_ms))
    end = _LABEL_PX + length
    return (
        f'<text x="{_LABEL_PX - 8}" y="{middle + 4}" text-anchor="end"{weight}>'
        f"{number}. {escape(_short(run))}</text>"
        f'<rect class="detkit-bar" x="{_LABEL_PX}" y="{y + 4}" width="{length:.1f}" '
        f'height="{_ROW_PX - 8}" rx="2" fill="{color}"/>'
        f'<line x1="{end - noise:.1f}" x2="{end + noise:.1f}" y1="{middle}" y2="{middle}" '
        f'stroke="currentColor" stroke-width="1.5"/>'
        f'<text x="{end + noise + 6:.1f}" y="{middle + 4}"{weight}>{run.images_per_s:.1f}</text>'
        f'<line x1="{_LATENCY_PX + p50:.1f}" x2="{_LATENCY_PX + p95:.1f}" y1="{middle}" '
        f'y2="{middle}" stroke="{_LATENCY}" stroke-width="4" stroke-linecap="round"/>'
        f'<circle cx="{_LATENCY_PX + p50:.1f}" cy="{middle}" r="4.5" fill="{_LATENCY}"/>'
        f'<text x="{_LATENCY_PX + p95 + 9:.1f}" y="{middle + 4}">'
        f"{run.latency_p50_ms:.0f}–{run.latency_p95_ms:.0f}</text>"
    )


def table_html(runs: Sequence[TrialRun]) -> str:
    """Every run as a row, the best one marked in words and colour."""
    if not runs:
        return ""
    timing = ("Images/s", "± noise", "p50, ms", "p95, ms")
    heads = ("#", "Way", "Workers", "Batch", "Delay, ms", "Model", *timing, "Failed", "Verdict")
    kinds = [' class="detkit-text"' if head in _TEXT_HEADS else "" for head in heads]
    pairs = tuple(zip(heads, kinds, strict=True))
    lines = ["<tr>" + "".join(f'<th scope="col"{k}>{escape(h)}</th>' for h, k in pairs) + "</tr>"]
    for number, (run, verdict) in enumerate(zip(runs, verdicts(runs), strict=True), start=1):
        trial = run.trial
        cells = (
            f"{number}",
            trial.way,
            f"{trial.max_workers}",
            f"{trial.batch_size}",
            f"{trial.batch_timeout_ms:g}",
            trial.loaded_as or "as loaded",
            f"{run.images_per_s:.1f}",
            f"{run.noise_per_s:.1f}",
            f"{run.latency_p50_ms:.1f}",
            f"{run.latency_p95_ms:.1f}",
            f"{run.num_failed}",
            f"★ {verdict}" if verdict == "best" else verdict,
        )
        row = ' class="detkit-best"' if verdict == "best" else ""
        filled = zip(cells, kinds, strict=True)
        lines.append(
            f"<tr{row}>" + "".join(f"<td{k}>{escape(c)}</td>" for c, k in filled) + "</tr>"
        )
    return (
        '<div role="region" aria-label="Runs" tabindex="0" style="overflow-x:auto">'
        f'<table class="detkit-runs">{"".join(lines)}</table></div>'
    )


def _short(run: TrialRun) -> str:
    trial = run.trial
    delay = f", {trial.batch_timeout_ms:g} ms" if trial.batch_timeout_ms else ""
    loaded = f", {trial.loaded_as}" if trial.loaded_as else ""
    text = f"{trial.way}, {trial.max_workers} × {trial.batch_size}{delay}{loaded}"
    return text if len(text) <= _MAX_LABEL_CHARS else f"{text[: _MAX_LABEL_CHARS - 1]}…"


def _spoken(runs: Sequence[TrialRun]) -> str:
    best = max(runs, key=lambda run: run.images_per_s)
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    return f"{count}; best: {best.trial} with {best.images_per_s:.1f} images per second"
