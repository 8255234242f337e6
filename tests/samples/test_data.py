"""The files in `data/` are what its README says, and the renderer still makes their boxes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detkit.samples import CLASS_NAMES, clip, scene

DATA = Path(__file__).resolve().parents[2] / "data"
if not (DATA / "README.md").is_file():
    pytest.skip("data/ is not part of the source distribution", allow_module_level=True)


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return document


def boxes_of(document: dict[str, Any], image_id: int) -> np.ndarray:
    rows = [a["bbox"] for a in document["annotations"] if a["image_id"] == image_id]
    xywh = np.array(rows, dtype=float).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def test_sums_match_and_name_every_file() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"\| `([^`]+)` \| (\d+) \| `([0-9a-f]{64})` \|", text)
    files = [*DATA.glob("images/*.jpg"), *DATA.glob("*.json"), *DATA.glob("*.mp4")]
    assert {name for name, _, _ in listed} == {p.relative_to(DATA).as_posix() for p in files}
    for name, size, digest in listed:
        content = (DATA / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (int(size), digest), name


def test_there_are_24_images_with_truth() -> None:
    document = load("annotations.json")
    assert len(document["images"]) == 24
    names = [c["name"] for c in sorted(document["categories"], key=lambda c: c["id"])]
    assert tuple(names) == CLASS_NAMES
    assert len({a["id"] for a in document["annotations"]}) == len(document["annotations"])


@pytest.mark.parametrize("index", [0, 9, 23])
def test_rendering_again_gives_the_same_boxes_and_picture(index: int) -> None:
    document = load("annotations.json")
    entry = document["images"][index]
    image, truth = scene(entry["seed"])
    np.testing.assert_allclose(truth.boxes, boxes_of(document, entry["id"]), atol=2e-3)
    stored = cv2.imread(str(DATA / entry["file_name"]))[..., ::-1]
    assert np.abs(stored.astype(float) - image).mean() < 4.0


def test_clip_is_ten_seconds_of_h264_with_truth() -> None:
    av = pytest.importorskip("av")
    document = load("belt_annotations.json")
    with av.open(str(DATA / "belt.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, stream.average_rate) == (1280, 720, 25)
        first = next(container.decode(stream)).to_ndarray(format="rgb24")
        assert 1 + sum(1 for _ in container.decode(stream)) == 250 == len(document["images"])
    image, truth = next(clip(12, 1))
    np.testing.assert_allclose(truth.boxes, boxes_of(document, 1), atol=2e-3)
    assert np.abs(first.astype(float) - image).mean() < 5.0


def test_data_stays_small() -> None:
    assert sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file()) < 12e6
