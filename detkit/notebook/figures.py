"""`Picture`: a matplotlib figure that a notebook shows exactly once, with or without pyplot.

Owns how figures are displayed, and pixel-exact placement. Knows matplotlib; never a result.

A kernel is not told whether the page is light or dark, and no colour of text has a contrast of 4.5
with white and with JupyterLab's #111 alike (the best grey reaches 4.34). So a picture is a white
card with round corners, which vanishes on a light page and is a card on a dark one. Photographs
are shown as JPEG, which knows no transparency: their card has square corners.
"""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from detkit.images import RGBImage
from detkit.notebook.one_line import printable

# One figure pixel is one screen pixel, and sizes can be said in pixels throughout.
DPI = 100

INK = "#1f2328"
FAINT_INK = "#6e7781"
ALARM = "#b42318"
PAPER = "#ffffff"
_CORNER_PX = 10

# A picture is shown with this many pixels for each of its own, to be sharp on dense screens.
_DENSITY = 2
# Photographs are shown as JPEG, a quarter of the size of PNG; the first of these that fits counts.
MAX_JPEG_BYTES = 1_500_000
_JPEG_QUALITIES = ((_DENSITY, 88), (_DENSITY, 70), (1, 70), (1, 30))
# Neither matplotlib nor JPEG go further.
_MAX_SIDE_PX = 65_000


class Picture(Figure):
    """A figure of a fixed size in pixels that belongs to nobody but its holder.

    pyplot does not know of it, so nothing is shown behind the caller's back and nothing has to be
    closed. As the last value of a cell it is shown at twice its resolution and in its own size:
    as JPEG where it holds photographs, else as PNG. `formatters` sees to it that matplotlib's
    inline backend, where it is active, does not show it in its own way too.
    """

    def __init__(self, width_px: int, height_px: int) -> None:
        super().__init__(figsize=(width_px / DPI, height_px / DPI), dpi=DPI, facecolor="none")
        self.width_px, self.height_px = width_px, height_px
        self._holds_photographs = False
        FigureCanvasAgg(self)
        in_pixels = Affine2D().scale(1 / width_px, 1 / height_px) + self.transFigure
        card = FancyBboxPatch((0, 0), width_px, height_px, facecolor=PAPER, edgecolor="none")
        card.set(boxstyle=f"round,pad=0,rounding_size={_CORNER_PX}", transform=in_pixels, zorder=-9)
        self.add_artist(card)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        if self._holds_photographs:
            return None
        return self._encoded(_DENSITY, "png"), self._size()

    def _repr_jpeg_(self) -> tuple[bytes, dict[str, int]] | None:
        if not self._holds_photographs:
            return None
        for density, quality in _JPEG_QUALITIES:
            data = self._encoded(density, "jpeg", quality=quality)
            if len(data) <= MAX_JPEG_BYTES:
                break
        return data, self._size()

    def _encoded(self, density: int, kind: str, **options: int) -> bytes:
        if density * max(self.width_px, self.height_px) > _MAX_SIDE_PX:
            density = 1
        file = io.BytesIO()
        self.savefig(file, format=kind, dpi=density * DPI, pil_kwargs=options)
        return file.getvalue()

    def _size(self) -> dict[str, int]:
        """What the page is told, as a notebook's metadata of an image."""
        return {"width": self.width_px, "height": self.height_px}

    def place_image(self, image: RGBImage, left: int, top: int, size_wh: tuple[int, int]) -> Axes:
        """Put an image at a place counted in pixels from the upper left corner."""
        self._holds_photographs = True
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
