"""What the pictures of speed share: axes, colours, bars and legends.

Knows matplotlib and how a run names its contestants; no statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from detkit.benchmark.runs import BenchmarkRun, Entry
from detkit.notebook.figures import ALARM, FAINT_INK, INK, PAPER, Picture
from detkit.notebook.one_line import printable, shortened

RULE = "#e4e7eb"
# From light to dark, for one, two, four ... workers or images: more is darker.
RAMP = LinearSegmentedColormap.from_list("detkit", ["#a6d0ee", "#2f86cf", "#0b3f73", "#03182f"])
# Told apart by hue and by lightness, so that they survive a grey print and most colour blindness.
STAGE_COLORS = {
    "decode": "#7d5ba6",
    "queue": "#c9ced6",
    "preprocess": "#f2b447",
    "inference": "#2878bd",
    "postprocess": "#3aa58c",
    "other": "#8a939e",
}
ROW_PX = 34
WIDTH_PX = 860
# Names get the room that they need, as far as "ThreadPoolExecutor, one shared model" goes.
MAX_NAME, NAME_PX, MIN_NAME_PX = 38, 6.9, 120
# The longest words beside a bar: a number, and "0.97x [0.96, 0.98] no difference".
WORDS_PX = 275


def bar_picture(
    run: BenchmarkRun, entries: Sequence[Entry], title: str, *, legend: bool = False
) -> tuple[Picture, Axes]:
    """A picture with one row per entry, the names on the left."""
    top = 74 + (28 if legend else 0)
    height = top + ROW_PX * len(entries) + 40
    picture = Picture(WIDTH_PX, height)
    heading(picture, title, f"{_work_of(run)} · {_machine_of(run)}")
    names = [shortened(entry.name, MAX_NAME) for entry in entries]
    left = 24 + max(MIN_NAME_PX, NAME_PX * max(map(len, names))) + 12
    axes = plain_axes(picture, (left, top, WIDTH_PX - left - 24, ROW_PX * len(entries)))
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(axis="y", visible=False)
    for row, name in enumerate(names):
        picture.place_text(name, left - 12, top + ROW_PX * (row + 0.5) - 8, align="right")
    return picture, axes


def room_for_words(axes: Axes, longest: float) -> None:
    """Let the longest bar end where the words beside it still have room."""
    width = axes.get_position().width * WIDTH_PX
    axes.set_xlim(0, longest * width / (width - WORDS_PX))


def _work_of(run: BenchmarkRun) -> str:
    """What the contestants were given."""
    facts = run.entries[0].facts
    arrival = str(facts.get("scenario", run.scenario.name)).replace("_", " ")
    model = f" · model {facts['model']}" if "model" in facts else ""
    return f"{arrival}, {run.num_images} images a round{model}"


def _machine_of(run: BenchmarkRun) -> str:
    """The machine without the list of what its processor can do, which the tables have."""
    machine = run.machine
    return f"{machine.processor.split(' (')[0]}, {machine.cores} cores, Python {machine.python}"


def plain_axes(picture: Picture, box_px: tuple[float, float, float, float]) -> Axes:
    """Axes at left, top, width, height in pixels, with faint rules and no frame."""
    left, top, width, height = box_px
    whole_w, whole_h = picture.width_px, picture.height_px
    place = (left / whole_w, 1 - (top + height) / whole_h, width / whole_w, height / whole_h)
    axes = picture.add_axes(place)
    axes.set_facecolor(PAPER)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    axes.tick_params(length=0, labelsize=9, labelcolor=FAINT_INK, which="both")
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def heading(picture: Picture, title: str, below: str) -> None:
    """A title, and a line below it."""
    picture.place_text(title, 24, 16, size_px=17, weight="bold")
    picture.place_text(shortened(below, 120), 24, 41, size_px=12, color=FAINT_INK)


def word_at(axes: Axes, x: float, y: float, text: str, color: str, *, align: str = "left") -> None:
    """A word centred on a height of the axes, in their units."""
    axes.text(x, y, text, color=color, fontsize=9, ha=align, va="center_baseline")


def words_beside(axes: Axes, x: float, row: int, number: str, words: str) -> None:
    """A number right of a bar, and words after it."""
    kept = axes.annotate(
        number,
        (x, row),
        xytext=(7, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=9.5,
        fontweight="bold",
        color=INK,
    )
    if words:
        axes.annotate(
            printable(words),
            (1, 0.5),
            xycoords=kept,
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=FAINT_INK,
        )


def hide_ticks_beyond(axes: Axes, most: float) -> None:
    """Number the axis only as far as there are bars; beyond there are words."""
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= 1.02 * most]
    axes.xaxis.set_major_locator(FixedLocator(ticks))


def axis_of_doublings(axes: Axes, values: Sequence[int]) -> None:
    """A horizontal axis on which each doubling is as wide, numbered at these values."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([float(v) for v in values]))
    axes.xaxis.set_major_formatter(FixedFormatter([str(v) for v in values]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(values[0] / 1.25, values[-1] * 1.25)


def shade(place: int, number: int) -> str:
    """The colour of one of several values in ascending order: more is darker."""
    return to_hex(RAMP(place / (number - 1) if number > 1 else 0.4))


def side_legend(
    picture: Picture,
    title: str,
    words: Sequence[str],
    *,
    left: float = WIDTH_PX - 132,
    top: float = 84,
    is_chosen_shown: bool = False,
) -> None:
    """Values and their shades, one below the other, from a place counted in pixels."""
    picture.place_text(title, left, top, size_px=12, color=FAINT_INK)
    for row, word in enumerate(words):
        y = top + 22 * (row + 1)
        picture.place_text("●", left, y - 1, size_px=14, color=shade(row, len(words)))
        picture.place_text(word, left + 18, y, size_px=12)
    if is_chosen_shown:
        y = top + 22 * (len(words) + 1) + 8
        picture.place_text("○", left - 1, y - 3, size_px=16, color=ALARM)
        picture.place_text("chosen", left + 18, y, size_px=12)
        picture.place_text("2×8: 2 workers,", left, y + 30, size_px=11, color=FAINT_INK)
        picture.place_text("batches of 8", left, y + 45, size_px=11, color=FAINT_INK)


def stage_legend(picture: Picture, stages: Sequence[str]) -> None:
    """Stages and their colours, side by side above the bars."""
    left = 210.0
    for stage in stages:
        picture.place_text("■", left, 68, size_px=14, color=STAGE_COLORS[stage])
        picture.place_text(stage, left + 17, 69, size_px=12)
        left += 17 + 8 * len(stage) + 16
