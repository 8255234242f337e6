"""Render the pictures, the clip and their ground truth that lie beside this script.

    python data/render_samples.py

Writes 24 JPEG images, `annotations.json`, `belt.mp4`, `belt_annotations.json` and the table of
SHA-256 sums in `README.md`. Boxes are the same on every machine; the bytes of the JPEG and H.264
files depend on the versions of OpenCV and libx264.
"""

from __future__ import annotations

import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from detkit.results import DetectionResult  # noqa: E402  the path is set above
from detkit.samples import CLASS_NAMES, clip, scene  # noqa: E402

SIZE_WH = (1280, 720)
IMAGE_SEEDS = range(24)
JPEG_QUALITY = 92
CLIP_SEED, CLIP_FRAMES, CLIP_FPS, CLIP_CRF = 12, 250, 25, 23
TABLE_START, TABLE_END = "<!-- sums -->", "<!-- /sums -->"


def coco(info: str) -> dict[str, Any]:
    """An empty COCO document. Category ids count from 1: class id + 1."""
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASS_NAMES)]
    return {
        "info": {"description": info, "version": "1"},
        "images": [],
        "annotations": [],
        "categories": categories,
    }


def add(document: dict[str, Any], file_name: str, truth: DetectionResult, **facts: int) -> None:
    """Add one picture and its boxes (`bbox` is x, y, width, height in pixels)."""
    image_id = len(document["images"]) + 1
    document["images"].append(
        {"id": image_id, "file_name": file_name, "width": SIZE_WH[0], "height": SIZE_WH[1], **facts}
    )
    tracks = truth.metadata.get("tracker_ids")
    for number, box in enumerate(truth.boxes.astype(np.float64)):
        x0, y0, x1, y1 = (round(float(v), 3) for v in box)
        width, height = round(x1 - x0, 3), round(y1 - y0, 3)
        annotation = {
            "id": len(document["annotations"]) + 1,
            "image_id": image_id,
            "category_id": int(truth.classes[number]) + 1,
            "bbox": [x0, y0, width, height],
            "area": round(width * height, 3),
            "iscrowd": 0,
        }
        if tracks is not None:
            annotation["track_id"] = int(tracks[number])
        document["annotations"].append(annotation)


def write_json(name: str, document: dict[str, Any]) -> None:
    """One line per entry: small, and readable in a diff."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            parts.append(f'"{key}": [\n{rows}\n]')
        else:
            parts.append(f'"{key}": {json.dumps(value)}')
    (HERE / name).write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def render_images() -> None:
    """Write `images/scene_NN.jpg` and `annotations.json`."""
    (HERE / "images").mkdir(exist_ok=True)
    document = coco("detkit sample scenes")
    for seed in IMAGE_SEEDS:
        image, truth = scene(seed, SIZE_WH)
        name = f"images/scene_{seed:02d}.jpg"
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(HERE / name), image[..., ::-1], options)
        add(document, name, truth, seed=seed)
    write_json("annotations.json", document)


def render_clip() -> None:
    """Write `belt.mp4` (H.264, yuv420p, index at the front) and `belt_annotations.json`."""
    import av

    document = coco("detkit sample clip; one image entry per frame of belt.mp4")
    target = str(HERE / "belt.mp4")
    with av.open(target, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(CLIP_FPS))
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(CLIP_CRF), "preset": "slow"}
        for index, (image, truth) in enumerate(clip(CLIP_SEED, CLIP_FRAMES, SIZE_WH, CLIP_FPS)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            add(document, "belt.mp4", truth, frame_index=index)
        container.mux(stream.encode())
    write_json("belt_annotations.json", document)


def write_sums() -> None:
    """Put the SHA-256 sums of all data files into the README's table."""
    paths = sorted([*HERE.glob("images/*.jpg"), *HERE.glob("*.json"), *HERE.glob("*.mp4")])
    rows = [
        f"| `{path.relative_to(HERE).as_posix()}` | {path.stat().st_size} "
        f"| `{hashlib.sha256(path.read_bytes()).hexdigest()}` |"
        for path in paths
    ]
    table = "\n".join(["| file | bytes | SHA-256 |", "|---|---:|---|", *rows])
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(TABLE_START)
    after = rest.split(TABLE_END)[1]
    readme.write_text(f"{before}{TABLE_START}\n{table}\n{TABLE_END}{after}", encoding="utf-8")


def main() -> None:
    """Render everything."""
    render_images()
    render_clip()
    write_sums()


if __name__ == "__main__":
    main()
