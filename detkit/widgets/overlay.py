"""`Overlay`: what is drawn over a picture beside its boxes. Knows drawing; never a widget."""

from __future__ import annotations

from dataclasses import dataclass

from detkit.drawing import Drawing, Style, plan_drawing
from detkit.images import RGBImage
from detkit.results import DetectionResult


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is drawn over a picture beside its boxes.

    Attributes:
        labels: Class names and scores.
        tracks: A number and a colour for every object.
        trails: Where every object came from.
    """

    labels: bool = True
    tracks: bool = False
    trails: bool = False

    def draw(self, image: RGBImage, result: DetectionResult) -> RGBImage:
        """A copy of the picture with boxes and all."""
        return self.plan(image.shape[:2], result).over(image)

    def plan(self, image_hw: tuple[int, int], result: DetectionResult) -> Drawing:
        """Boxes and all, placed in a picture of this height and width."""
        style = Style(
            show_labels=self.labels,
            show_tracks=self.tracks,
            show_trails=self.trails,
            color_by="track" if self.tracks else "class",
        )
        return plan_drawing(image_hw, result, style)
