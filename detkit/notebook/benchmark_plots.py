"""Four pictures of speed: who is faster, the frontier, scaling, and where the time goes.

Draws what runs and reports say, each with its uncertainty, on figures of its own. Knows matplotlib
and the values of `detkit.benchmark`; never pyplot, and measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    NullLocator,
)

from detkit.benchmark.comparison import compare_all
from detkit.benchmark.rounds import STAGES
from detkit.benchmark.runs import BenchmarkRun, Entry
from detkit.benchmark.tune_report import TunePoint, TuneReport
from detkit.notebook.benchmark_drawing import (
    STAGE_COLORS,
    WIDTH_PX,
    axis_of_doublings,
    bar_picture,
    heading,
    hide_ticks_beyond,
    plain_axes,
    room_for_words,
    shade,
    side_legend,
    stage_legend,
    word_at,
    words_beside,
)
from detkit.notebook.figures import ALARM, FAINT_INK, INK, PAPER, Picture

_ACCENT = "#1f6feb"
# Settings that the race kept were tried this often at least.
_ENOUGH_TRIES = 4


def plot_comparison(run: BenchmarkRun, baseline: str | None = None) -> Picture:
    """Images per second of every contestant with its 95 % interval, and the verdicts.

    Args:
        run: The run.
        baseline: Whom the others are compared with; by default the first with numbers.

    Raises:
        ValueError: If no contestant has numbers.
        KeyError: If there is no contestant `baseline`.
    """
    entries = _with_numbers(run)
    baseline = baseline or entries[0].name
    verdicts = {c.name: c for c in compare_all(run, baseline)}
    picture, axes = bar_picture(
        run, entries, "Images per second, median of rounds with 95 % interval"
    )
    for row, entry in enumerate(entries):
        rate = entry.images_per_s()
        is_base = entry.name == baseline
        axes.barh(row, rate.value, height=0.58, color=INK if is_base else _ACCENT, alpha=0.88)
        if not math.isnan(rate.low):
            axes.plot([rate.low, rate.high], [row, row], color=PAPER, linewidth=4.2, zorder=3)
            axes.plot([rate.low, rate.high], [row, row], color="#0b1f3a", linewidth=1.8, zorder=4)
        found = verdicts.get(entry.name)
        said = "baseline" if found is None else f"{found.speedup.text(unit='×')} {found.verdict}"
        far = rate.value if math.isnan(rate.high) else max(rate.value, rate.high)
        words_beside(axes, far, row, f"{rate.value:.1f}", said)
    ends = [e.images_per_s() for e in entries]
    longest = max(r.value if math.isnan(r.high) else r.high for r in ends)
    room_for_words(axes, longest)
    hide_ticks_beyond(axes, longest)
    return picture


def plot_stages(run: BenchmarkRun) -> Picture:
    """Milliseconds per image by stage, as far as results tell.

    Raises:
        ValueError: If no contestant told any stage.
    """
    entries = [entry for entry in run if entry.stages_ms()]
    if not entries:
        raise ValueError("no contestant's results tell where the time went")
    picture, axes = bar_picture(run, entries, "Milliseconds per image, by stage", legend=True)
    longest = max(sum(entry.stages_ms().values()) for entry in entries)
    for row, entry in enumerate(entries):
        left = 0.0
        for stage, spent in entry.stages_ms().items():
            axes.barh(row, spent, left=left, height=0.58, color=STAGE_COLORS[stage])
            if spent > 0.055 * longest:
                ink = INK if stage in ("queue", "preprocess") else PAPER
                word_at(axes, left + spent / 2, row, f"{spent:.1f}", ink, align="center")
            left += spent
        words_beside(axes, left, row, f"{left:.1f} ms", "")
    axes.set_xlim(0, 1.16 * longest)
    told = [stage for stage in STAGES if any(stage in e.stages_ms() for e in entries)]
    stage_legend(picture, told)
    return picture


def plot_frontier(report: TuneReport) -> Picture:
    """Throughput against latency of every setting; no setting is better than those on the line.

    Raises:
        ValueError: If no setting worked.
    """
    points = _working(report)
    picture = Picture(WIDTH_PX, 500)
    axes = plain_axes(picture, (76, 74, WIDTH_PX - 76 - 150, 500 - 74 - 62))
    heading(picture, "Throughput against latency", f"{report.model} · {report.machine.processor}")
    workers = sorted({p.choice.max_workers for p in points})
    for point in points:
        color = shade(workers.index(point.choice.max_workers), len(workers))
        rate = point.images_per_s
        if not math.isnan(rate.low):
            y = 1000 * point.latency_s
            axes.plot([rate.low, rate.high], [y, y], color=color, linewidth=1.2, alpha=0.45)
        # A filled dot is loaded like the chosen one, a hollow one in another way.
        face = color if point.choice.variant == report.best.variant else PAPER
        axes.scatter(
            rate.value, 1000 * point.latency_s, s=_dot(point), c=face, edgecolors=color, zorder=3
        )
    _draw_frontier(axes, frontier(points))
    best = next(p for p in points if p.choice == report.best)
    x, y = best.images_per_s.value, 1000 * best.latency_s
    axes.scatter(x, y, s=190, facecolors="none", edgecolors=ALARM, linewidths=1.8, zorder=5)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    # Room beside the fastest dot for its name, which must not run into the legend.
    axes.set_xlim(0, 1.14 * max(p.images_per_s.value for p in points))
    axes.set_xlabel("images per second", color=FAINT_INK)
    axes.set_ylabel("milliseconds per image, log scale", color=FAINT_INK)
    side_legend(picture, "workers", [str(w) for w in workers], is_chosen_shown=True)
    if len({p.choice.variant for p in points}) > 1:
        below = 84 + 22 * (len(workers) + 1) + 8 + 68
        picture.place_text("hollow: loaded", WIDTH_PX - 132, below, size_px=11, color=FAINT_INK)
        picture.place_text(
            "in another way", WIDTH_PX - 132, below + 15, size_px=11, color=FAINT_INK
        )
    return picture


def plot_scaling(report: TuneReport) -> Picture:
    """Images per second by number of workers and by batch size, for the best variant.

    Raises:
        ValueError: If no setting worked.
    """
    points = [p for p in _working(report) if p.choice.variant == report.best.variant]
    picture = Picture(WIDTH_PX, 420)
    below = "large dots: tried often, with 95 % interval; small dots: tried once or twice"
    heading(picture, "Scaling", f"{report.model} · {below}")
    top = 1.12 * max(_upper(p) for p in points)
    panels: tuple[tuple[str, str, Callable[[TunePoint], int], Callable[[TunePoint], int]], ...] = (
        ("workers", "batch size", lambda p: p.choice.max_workers, lambda p: p.choice.batch_size),
        ("batch size", "workers", lambda p: p.choice.batch_size, lambda p: p.choice.max_workers),
    )
    for number, (along, name, get_x, get_line) in enumerate(panels):
        axes = plain_axes(picture, (66 + number * 400, 84, 270, 420 - 84 - 60))
        lines = sorted({get_line(p) for p in points})
        for place, line in enumerate(lines):
            mine = sorted((p for p in points if get_line(p) == line), key=get_x)
            color = shade(place, len(lines))
            xs, ys = [get_x(p) for p in mine], [p.images_per_s.value for p in mine]
            axes.plot(xs, ys, color=color, linewidth=1.4, alpha=0.75)
            axes.scatter(xs, ys, s=[_dot(p) for p in mine], color=color, zorder=3)
            for x, point in zip(xs, mine, strict=True):
                rate = point.images_per_s
                axes.plot([x, x], [rate.low, rate.high], color=color, linewidth=1.0, alpha=0.45)
        chosen = next(p for p in points if p.choice == report.best)
        axes.scatter(
            get_x(chosen),
            chosen.images_per_s.value,
            s=170,
            facecolors="none",
            edgecolors=ALARM,
            linewidths=1.8,
            zorder=5,
        )
        axis_of_doublings(axes, sorted({get_x(p) for p in points}))
        axes.set_ylim(0, top)
        axes.set_xlabel(along, color=FAINT_INK)
        if number == 0:
            axes.set_ylabel("images per second", color=FAINT_INK)
        words = [str(line) for line in lines]
        side_legend(picture, name, words, left=66 + number * 400 + 282, top=86)
    return picture


def frontier(points: Sequence[TunePoint]) -> list[TunePoint]:
    """The points than which none has more throughput and less latency, by throughput."""
    kept: list[TunePoint] = []
    for point in sorted(points, key=lambda p: (-p.images_per_s.value, p.latency_s)):
        if not kept or point.latency_s < kept[-1].latency_s:
            kept.append(point)
    return kept[::-1]


def _upper(point: TunePoint) -> float:
    rate = point.images_per_s
    return rate.value if math.isnan(rate.high) else max(rate.value, rate.high)


def _dot(point: TunePoint) -> float:
    """Size of a point: small where a setting was tried too seldom to be sure."""
    return 44.0 if point.num_tries >= _ENOUGH_TRIES else 14.0


def _draw_frontier(axes: Axes, points: Sequence[TunePoint]) -> None:
    xs = [p.images_per_s.value for p in points]
    ys = [1000 * p.latency_s for p in points]
    axes.plot(xs, ys, color=INK, linewidth=1.1, linestyle=(0, (4, 3)), zorder=2)
    for x, y, point in zip(xs, ys, points, strict=True):
        axes.annotate(
            f"{point.choice.max_workers}×{point.choice.batch_size}",
            (x, y),
            xytext=(9, -10),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
        )


def _with_numbers(run: BenchmarkRun) -> list[Entry]:
    entries = [entry for entry in run if entry.has_numbers]
    if not entries:
        raise ValueError("no contestant of this run has numbers")
    return entries


def _working(report: TuneReport) -> list[TunePoint]:
    points = [p for p in report.points if p.images_per_s.value > 0 and p.latency_s > 0]
    if not points:
        raise ValueError("no setting of this report worked")
    return points
