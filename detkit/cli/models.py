"""The options that several commands share, and the detector that they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from detkit.cli.ending import fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from detkit.detection import YOLOv8Detector

SAMPLE_MODEL = "sample"
DEFAULT_MODEL = "yolov8n.pt"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help=f"A .pt or .onnx file, the name of an official model, or '{SAMPLE_MODEL}' for the "
        "small one inside detkit.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
ConfidenceOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Keep detections of at least this score.")
]

TrackOption = Annotated[
    bool,
    typer.Option("--track", help="Number the objects of a video and draw where they came from."),
]
MaxFramesOption = Annotated[
    int | None, typer.Option("--max-frames", min=1, help="End a video after so many frames.")
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", min=0.0, help="End a video, camera or stream after so long."),
]


def load(model: str, device: str, say: Callable[[str], None] | None = None) -> YOLOv8Detector:
    """The detector for `--model` and `--device`; a model that is not there ends the command.

    Args:
        model: A path, an official name or `SAMPLE_MODEL`.
        device: See `DeviceOption`.
        say: Told what takes long.

    Raises:
        typer.Exit: If there is no such model.
        DetkitError: If it cannot be loaded.
    """
    from detkit.detection import YOLOv8Detector
    from detkit.errors import ModelNotFoundError
    from detkit.samples import sample_detector

    if model == SAMPLE_MODEL:
        return sample_detector(device=device)
    detector = YOLOv8Detector()
    try:
        detector.load_model(model, device, on_progress=say)
    except ModelNotFoundError as error:
        fail(
            f"{error}\nOr take `--model {SAMPLE_MODEL}`, the model that comes "
            "with detkit; it knows machine parts only."
        )
    return detector
