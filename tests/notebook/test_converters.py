"""Other libraries' results become ours and back without a box, a name or a track lost."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from detkit.errors import InvalidResultError
from detkit.notebook import from_supervision, from_ultralytics, to_supervision, to_ultralytics
from detkit.results import DetectionResult

IMAGE = np.zeros((100, 200, 3), np.uint8)
IMAGE[..., 0] = 200
FACTS = {"class_names": {0: "bolt", 2: "gear"}, "image_hw": (100, 200), "source": "a.jpg"}
TWO = DetectionResult([[0, 0, 20, 50], [100, 50, 200, 100]], [0.9, 0.4], [0, 2], FACTS)
TRACKED = TWO.with_metadata(tracker_ids=np.array([7, 8]))
NONE = DetectionResult.empty(FACTS)

needs_supervision = pytest.mark.skipif(
    importlib.util.find_spec("supervision") is None, reason="supervision is not installed"
)


@needs_supervision
@pytest.mark.parametrize("result", [TWO, TRACKED, NONE])
def test_supervision_and_back(result: DetectionResult) -> None:
    theirs = to_supervision(result)
    assert theirs.data["class_name"].tolist() == result.names
    ours = from_supervision(theirs)
    assert ours == result
    assert ours.names == result.names
    if "tracker_ids" in result.metadata:
        assert ours.metadata["tracker_ids"].tolist() == [7, 8]
    theirs.xyxy[:] = 0  # what they do with theirs does not reach ours
    assert result == from_supervision(to_supervision(result))


@needs_supervision
def test_supervision_without_scores_and_classes() -> None:
    from supervision import Detections

    ours = from_supervision(Detections(xyxy=np.array([[0, 0, 5, 5.0]])), {0: "thing"})
    assert (ours.scores.tolist(), ours.names) == ([1.0], ["thing"])


@pytest.mark.parametrize("result", [TWO, TRACKED, NONE])
def test_ultralytics_and_back(result: DetectionResult) -> None:
    theirs = to_ultralytics(result, IMAGE)
    assert theirs.orig_img[0, 0].tolist() == [0, 0, 200], "BGR, as they expect"
    assert theirs.names[2] == "gear"
    ours = from_ultralytics(theirs)
    assert ours == result
    assert ours.names == result.names
    assert ours.metadata["image_hw"] == (100, 200)
    assert ours.metadata["source"] == "a.jpg"
    assert ours.image is None
    if "tracker_ids" in result.metadata and len(result):
        assert ours.metadata["tracker_ids"].tolist() == [7, 8]


def test_ultralytics_needs_the_image_and_whole_tracks() -> None:
    with pytest.raises(ValueError, match="hold their image"):
        to_ultralytics(TWO)
    assert from_ultralytics(to_ultralytics(TWO.with_image(IMAGE))) == TWO
    with pytest.raises(InvalidResultError, match="a track for every box"):
        to_ultralytics(TWO.with_metadata(tracker_ids=[7, -1]), IMAGE)
    with pytest.raises(ValueError, match="no boxes"):
        from_ultralytics(SimpleNamespace(boxes=None))


def test_neither_library_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from detkit.notebook import from_supervision, to_ultralytics\n"
        "assert not {'supervision', 'ultralytics', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
