"""Real weights, photographs and videos, as far as they are at hand: nothing is downloaded.

Owns where they may lie. The rendered scenes are always there and these are not, so a page that
uses them asks first, and says what it found.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from detkit.detection.environment import cache_folder

_WEIGHTS = "yolov8n.pt"
_NEIGHBOUR = "shared"  # a folder beside the checkout, for files that are too large to belong to it


@dataclass(frozen=True, slots=True)
class RealData:
    """What is at hand. As text it says so in one sentence, without the folders.

    Attributes:
        weights: A YOLOv8 that knows the 80 kinds of COCO, or None.
        photographs: Those that come with ultralytics.
        videos: Those of a folder `shared/videos` beside the checkout.
    """

    weights: Path | None
    photographs: tuple[Path, ...]
    videos: tuple[Path, ...]

    def __str__(self) -> str:
        if self.weights is None:
            return (
                f"no weights at hand: YOLOv8Detector().load_model({_WEIGHTS!r}) downloads them "
                "once, then run this cell again"
            )
        names = (path.name for path in (self.weights, *self.photographs, *self.videos))
        return f"at hand: {', '.join(names)}"

    __repr__ = __str__


def find_real_data(folder: Path | str = ".") -> RealData:
    """Look for real weights, photographs and videos.

    Args:
        folder: Where `yolov8n.pt` may lie; the next place is the cache folder that
            `load_model("yolov8n.pt")` downloads to, the last `shared/models` beside the checkout.

    Example:
        >>> from detkit.samples import find_real_data
        >>> print(find_real_data())  # doctest: +SKIP
        at hand: yolov8n.pt, bus.jpg, zidane.jpg
    """
    here = Path(folder).absolute()
    shared = [above / _NEIGHBOUR for above in here.parents[:2]]  # of a notebook, of a checkout
    places = [here / _WEIGHTS, cache_folder() / "weights" / _WEIGHTS]
    places += [each / "models" / "yolov8n-coco.pt" for each in shared]
    package = find_spec("ultralytics")  # which is not imported for it
    assets = Path(package.origin or "").parent / "assets" if package else None
    return RealData(
        next((place for place in places if place.is_file()), None),
        tuple(sorted(assets.glob("*.jpg"))) if assets else (),
        tuple(sorted(path for each in shared for path in (each / "videos").glob("*.mp4"))),
    )
