"""`Picture`: a matplotlib figure that a notebook shows exactly once, with or without pyplot.

Owns how figures are displayed, and pixel-exact placement. Knows matplotlib; never a result.
"""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from detkit.images import RGBImage
from detkit.notebook.one_line import printable

# One figure pixel is one screen pixel, and sizes can be said in pixels throughout.
DPI = 100

INK = "#1f2328"
FAINT_INK = "#6e7781"
ALARM = "#b42318"
PAPER = "#ffffff"


class Picture(Figure):
    """A figure of a fixed size in pixels that belongs to nobody but its holder.

    pyplot does not know of it, so nothing is shown behind the caller's back and nothing has to be
    closed. As the last value of a cell it is shown as PNG: by its own `_repr_png_`, or, where
    matplotlib's inline backend is active, by the formatter that the backend registers in its place.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        super().__init__(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor=PAPER)
        self.width_px, self.height_px = width_px, height_px
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=self.dpi)
        return file.getvalue()

    def place_image(self, image: RGBImage, left: int, top: int, size_wh: tuple[int, int]) -> Axes:
        """Put an image at a place counted in pixels from the upper left corner."""
        width, height = size_wh
        bottom = self.height_px - top - height
        axes = self.add_axes(
            (
                left / self.width_px,
                bottom / self.height_px,
                width / self.width_px,
                height / self.height_px,
            )
        )
        axes.imshow(image, interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        return axes

    def place_text(
        self,
        text: str,
        left: float,
        top: float,
        *,
        size_px: float = 13,
        color: str = INK,
        weight: str = "normal",
        align: str = "left",
    ) -> Text:
        """Write one line whose ascenders begin `top` pixels below the figure's upper edge."""
        return self.text(
            left / self.width_px,
            # Aligned by baseline: aligned by its ink, a line without a capital would sit higher.
            1 - (top + size_px) / self.height_px,
            printable(text),
            fontsize=size_px * 72 / DPI,
            color=color,
            fontweight=weight,
            horizontalalignment=align,
            verticalalignment="baseline",
            # A file name may hold two dollar signs, which would otherwise open a formula.
            parse_math=False,
        )
