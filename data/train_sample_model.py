"""Make the sample detector: render scenes, train a narrow YOLOv8 on them, measure, install.

Everything starts from seeds: no downloaded image, no pretrained weight, no network. Each step
leaves its result under `--out` and is skipped when it is already there, and an interrupted
training goes on from its last checkpoint when the program is started again.

    python data/train_sample_model.py --out DIR

Training goes in two rounds: from random weights ("train"), then on fresh pictures at a lower
learning rate ("polish"). Training pictures are scenes of 700 to 1040 px, halved (0.4 to 0.6) to
416 px, because that is the scale at which the finished model sees a 1280 x 720 frame (640 px).
Test pictures are whole 1280 x 720 scenes of seeds that training never saw.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "False")

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WEIGHTS = ROOT / "detkit" / "samples" / "weights"
FIRST_SEED = {"train": 1_000_000, "polish": 1_500_000, "val": 2_000_000, "test": 3_000_000}
TRAIN_SIZE, MODEL_SIZE = 416, 640

# ultralytics' yolov8.yaml with width 0.125 (YOLOv8n has 0.25) and six classes.
MODEL_YAML = """\
nc: 6
depth_multiple: 0.33
width_multiple: 0.125
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 3, C2f, [128, True]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 6, C2f, [256, True]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [-1, 6, C2f, [512, True]]
  - [-1, 1, Conv, [1024, 3, 2]]
  - [-1, 3, C2f, [1024, True]]
  - [-1, 1, SPPF, [1024, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 6], 1, Concat, [1]]
  - [-1, 3, C2f, [512]]
  - [-1, 1, nn.Upsample, [None, 2, "nearest"]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 3, C2f, [256]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [[-1, 12], 1, Concat, [1]]
  - [-1, 3, C2f, [512]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [[-1, 9], 1, Concat, [1]]
  - [-1, 3, C2f, [1024]]
  - [[15, 18, 21], 1, Detect, [nc]]
"""


def render_one(job: tuple[str, int, str]) -> None:
    """Render one picture and its label file; `job` is (split, seed, folder)."""
    import cv2

    from detkit.samples.draws import Draws
    from detkit.samples.scene import scene

    cv2.setNumThreads(1)
    split, seed, folder = job
    size_wh, out_wh = (1280, 720), (1280, 720)
    if split != "test":
        draws = Draws(seed, 99)
        side = draws.integer(700, 1040)
        is_wide = draws.chance(0.2)
        size_wh = (side, round(side * 9 / 16)) if is_wide else (side, side)
        out_wh = (TRAIN_SIZE, 234) if is_wide else (TRAIN_SIZE, TRAIN_SIZE)
    image, truth = scene(seed, size_wh)
    if out_wh != size_wh:
        image = cv2.resize(image, out_wh, interpolation=cv2.INTER_AREA)
    width, height = size_wh
    lines = []
    for (x0, y0, x1, y1), class_id in zip(truth.boxes, truth.classes, strict=True):
        centre = f"{(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f}"
        lines.append(f"{class_id} {centre} {(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n")
    suffix, options = (".png", []) if split == "test" else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95])
    target = Path(folder)
    (target / "labels" / split / f"{seed}.txt").write_text("".join(lines))
    cv2.imwrite(str(target / "images" / split / f"{seed}{suffix}"), image[..., ::-1], options)


def render(out: Path, counts: dict[str, int], processes: int) -> None:
    """Render all splits in ultralytics' folder layout, with a data file for each training."""
    from detkit.samples.names import CLASS_NAMES

    dataset = out / "dataset"
    jobs = []
    for split, count in counts.items():
        (dataset / "images" / split).mkdir(parents=True, exist_ok=True)
        (dataset / "labels" / split).mkdir(parents=True, exist_ok=True)
        present = {int(path.stem) for path in (dataset / "images" / split).glob("*.[jp][pn]g")}
        seeds = range(FIRST_SEED[split], FIRST_SEED[split] + count)
        jobs += [(split, seed, str(dataset)) for seed in seeds if seed not in present]
    if jobs:
        with Pool(processes) as pool:
            for _ in pool.imap_unordered(render_one, jobs, chunksize=8):
                pass
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASS_NAMES))
    for split in ("train", "polish"):
        splits = f"train: images/{split}\nval: images/val\ntest: images/test\n"
        (dataset / f"{split}.yaml").write_text(f"path: {dataset}\n{splits}names:\n{names}")


def train(out: Path, split: str, epochs: int, start: Path | None = None) -> Path:
    """Train on a split, or go on with an interrupted training; the best checkpoint.

    Starts from random weights, or from the weights `start` at a third of the learning rate.
    """
    from ultralytics import YOLO

    data_yaml, run = out / "dataset" / f"{split}.yaml", out / "runs" / split
    last, best = run / "weights" / "last.pt", run / "weights" / "best.pt"
    if (run / "finished").exists():
        return best
    if last.exists():
        model = YOLO(last)
        model.add_callback("on_train_start", compute_in_bfloat16)
        model.train(resume=True)
    else:
        model_yaml = out / "parts_model.yaml"
        model_yaml.write_text(MODEL_YAML)
        model = YOLO(start or model_yaml, task="detect")
        model.add_callback("on_train_start", compute_in_bfloat16)
        settings = training_settings(data_yaml, run, epochs)
        model.train(**settings | ({"lr0": settings["lr0"] / 3} if start else {}))
    (run / "finished").write_text("")
    return best


def compute_in_bfloat16(trainer: Any) -> None:
    """Run the network in bfloat16 and channels-last, its loss in float32.

    On a CPU with AVX512_BF16 this makes a training step 1.7 times as fast. The loss stays in
    float32 because bfloat16 would round box edges to a quarter of a cell. The averaged copy of
    the model, which is validated and saved, has float32 weights and none of this.
    """
    import torch

    model = trainer.model.to(memory_format=torch.channels_last)

    def loss(batch: dict[str, Any], preds: Any = None) -> Any:
        if getattr(model, "criterion", None) is None:
            model.criterion = model.init_criterion()
        pixels = batch["img"].to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            preds = model.forward(pixels)
        preds = {
            "boxes": preds["boxes"].float(),
            "scores": preds["scores"].float(),
            "feats": preds["feats"],
        }
        return model.criterion(preds, batch)

    model.loss = loss


def training_settings(data_yaml: Path, run: Path, epochs: int) -> dict[str, Any]:
    """What the model is trained with; what is not named here is ultralytics' default."""
    return {
        "data": str(data_yaml),
        "project": str(run.parent),
        "name": run.name,
        "exist_ok": True,
        "epochs": epochs,
        "imgsz": TRAIN_SIZE,
        "batch": 16,
        "optimizer": "AdamW",
        "lr0": 0.003,
        "lrf": 0.01,
        "cos_lr": True,
        "warmup_epochs": 1.0,
        "weight_decay": 0.0005,
        # Fresh renders are variety enough: no mosaic, only mirror images and small changes.
        "mosaic": 0.0,
        "hsv_h": 0.01,
        "hsv_s": 0.2,
        "hsv_v": 0.2,
        "translate": 0.05,
        "scale": 0.1,
        "erasing": 0.0,
        "fliplr": 0.5,
        "flipud": 0.5,
        "cache": "ram",
        "workers": 1,
        "amp": False,
        "plots": False,
        "device": "cpu",
        "seed": 0,
        "patience": 0,
    }


def write_pt(best: Path, target: Path) -> None:
    """Save a checkpoint that holds the float16 model and nothing about where it was made."""
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import __version__

    model = YOLO(best).model.cpu().eval()
    model.criterion = None
    model.args = {"task": "detect", "imgsz": MODEL_SIZE}
    model.yaml = {**model.yaml, "yaml_file": "yolov8-parts.yaml"}
    for name in ("pt_path", "loss"):
        model.__dict__.pop(name, None)
    for parameter in model.parameters():
        parameter.requires_grad = False
    checkpoint = {
        "epoch": -1,
        "best_fitness": None,
        "model": model.half(),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": dict(model.args),
        "train_metrics": None,
        "train_results": None,
        "date": None,
        "version": __version__,
        "license": "AGPL-3.0",
    }
    torch.save(checkpoint, target)


def write_onnx(pt: Path, target: Path, scratch: Path) -> None:
    """Export with dynamic batch, height and width; keep ultralytics' facts, drop traces."""
    import onnx
    from ultralytics import YOLO

    copy = scratch / "parts.pt"
    shutil.copyfile(pt, copy)
    exported = YOLO(copy).export(
        format="onnx", imgsz=MODEL_SIZE, dynamic=True, opset=17, simplify=False, device="cpu"
    )
    model = onnx.load(exported)
    facts = {prop.key: prop.value for prop in model.metadata_props}
    facts["description"] = "detkit sample detector: machine parts on a conveyor belt"
    del model.metadata_props[:]
    onnx.helper.set_model_props(
        model, {key: value for key, value in facts.items() if key not in ("date", "docs")}
    )
    model.doc_string = ""
    model.graph.doc_string = ""
    channels = model.graph.output[0].type.tensor_type.shape.dim[1]
    channels.dim_value = 4 + len(ast.literal_eval(facts["names"]))
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, target)


def install(best: Path, out: Path) -> None:
    """Put both weights into the package."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    scratch = out / "export"
    scratch.mkdir(parents=True, exist_ok=True)
    write_pt(best, scratch / "clean.pt")
    write_onnx(scratch / "clean.pt", scratch / "clean.onnx", scratch)
    for suffix in (".pt", ".onnx"):
        shutil.copyfile(scratch / f"clean{suffix}", WEIGHTS / f"parts{suffix}")
        print(f"parts{suffix}: {(WEIGHTS / f'parts{suffix}').stat().st_size} bytes")


def validate(out: Path, size: int) -> dict[str, Any]:
    """Measure the installed ONNX file with ultralytics' own validator on the test split."""
    from ultralytics import YOLO

    metrics = YOLO(WEIGHTS / "parts.onnx", task="detect").val(
        data=str(out / "dataset" / "train.yaml"),
        split="test",
        imgsz=size,
        rect=True,
        batch=1,
        plots=False,
        workers=0,
        project=str(out / "runs"),
        name="test",
        exist_ok=True,
        device="cpu",
    )
    names = metrics.names
    report = {
        "imgsz": size,
        "mAP50": round(float(metrics.box.map50), 4),
        "mAP50-95": round(float(metrics.box.map), 4),
        "precision": round(float(metrics.box.mp), 4),
        "recall": round(float(metrics.box.mr), 4),
        "per_class_mAP50-95": {
            names[i]: round(float(value), 4) for i, value in enumerate(metrics.box.maps)
        },
    }
    (out / f"measured_{size}.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data set and runs")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--polish-epochs", type=int, default=8)
    parser.add_argument("--train-images", type=int, default=5000)
    parser.add_argument("--polish-images", type=int, default=5000)
    parser.add_argument("--val-images", type=int, default=120)
    parser.add_argument("--test-images", type=int, default=500)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--weights", type=Path, help="checkpoint to install instead of the best")
    parser.add_argument("--size", type=int, default=MODEL_SIZE, help="input size to validate at")
    parser.add_argument("--steps", default="render,train,install,validate")
    options = parser.parse_args()
    out, steps = options.out.resolve(), options.steps.split(",")
    counts = {
        "train": options.train_images,
        "polish": options.polish_images,
        "val": options.val_images,
        "test": options.test_images,
    }
    best = out / "runs" / "polish" / "weights" / "best.pt"
    if "render" in steps:
        render(out, counts, options.processes)
    if "train" in steps:
        first = train(out, "train", options.epochs)
        best = train(out, "polish", options.polish_epochs, start=first)
    if "install" in steps:
        install(options.weights or best, out)
    if "validate" in steps:
        print(json.dumps(validate(out, options.size), indent=2))


if __name__ == "__main__":
    main()
