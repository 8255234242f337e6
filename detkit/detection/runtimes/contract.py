"""What the detector asks of an inference library, and what it was asked to load.

To add a library: a file beside this one with a subclass of `Runtime` and a function
`open_runtime(options)`, and a line in `selection.py`.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from detkit.detection.model_facts import ModelFacts
from detkit.detection.model_files import ModelFormat
from detkit.detection.postprocess import RawOutput
from detkit.errors import ModelLoadError

RuntimeName = Literal["auto", "ultralytics", "openvino", "onnxruntime"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

_logger = logging.getLogger("detkit.detection")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Everything that decides how a model is loaded.

    Attributes:
        path: Absolute path of an existing file or folder.
        format: What its name says it is.
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".
        precision: Number format of the arithmetic; "auto" takes the fastest that the
            hardware has natively and that keeps detections as they are.
        trust_weights: Whether a file may run code of its own.
        num_threads: Most CPU threads for all calls at once; `None` for all usable cores.
        image_size: Longest side in pixels, or (height, width); `None` takes the model's own.
        on_progress: Told in a few words what is going to take long.
    """

    path: Path
    format: ModelFormat
    device: str = "cpu"
    precision: Precision = "auto"
    trust_weights: bool = False
    num_threads: int | None = None
    image_size: int | tuple[int, int] | None = None
    on_progress: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", str(self.device)):
            raise ModelLoadError(
                f"device must be 'cpu', 'cuda', 'cuda:1', 'mps' or 'auto', got {self.device!r}"
            )
        if self.precision not in get_args(Precision):
            raise ModelLoadError(
                f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}"
            )
        if self.num_threads is not None and self.num_threads < 1:
            raise ModelLoadError(f"num_threads must be at least 1, got {self.num_threads!r}")

    def require_trust(self, what: str) -> None:
        """Refuse a file that is a program, unless its user trusts it.

        Args:
            what: What it is and what that can do, to follow "is".

        Raises:
            ModelLoadError: If it is not trusted.
        """
        if not self.trust_weights:
            raise ModelLoadError(
                f"{self.path.name} is {what}. If you trust its origin, pass trust_weights=True; "
                "or load the .pt or .onnx file it was made from"
            )

    def tell(self, text: str) -> None:
        """Say what is going to take long, to the log and to whoever asked to be told."""
        _logger.info("%s", text)
        if self.on_progress is not None:
            self.on_progress(text)


class NotConvertibleError(ModelLoadError):
    """A library cannot be given this network here; another one may still run it."""


class Runtime(ABC):
    """One loaded network. Used by one thread at a time.

    Attributes:
        facts: What the network takes and gives.
        device: Where it runs, for example "cpu" or "cuda:0".
        precision: Number format of its arithmetic, for example "fp32".
        library: Name of the inference library.
    """

    facts: ModelFacts
    device: str
    precision: str
    library: str

    @abstractmethod
    def infer(self, batch: npt.NDArray[np.uint8]) -> RawOutput:
        """Run the network.

        Args:
            batch: `(B, h, w, 3)` uint8 RGB, contiguous, at most `facts.max_batch_size` images,
                letterboxed to sides that `facts` allows. Only read, but writeable, because
                libraries that borrow memory insist on it.

        Returns:
            float32 `(B, 4 + num_classes, A)` or `(B, N, 6)` as `facts.layout` says, boxes in
            pixels of the input; in place of the first also what the head says of each image before
            that. May be overwritten by the next call: copy what is kept.

        Raises:
            MemoryError: If memory ran out; `torch.OutOfMemoryError` on a GPU.
        """

    @abstractmethod
    def replicate(self) -> Runtime:
        """A second runtime that shares nothing which `infer` changes, as warm as this one."""

    def share_threads(self, num_threads: int, num_workers: int) -> None:  # noqa: B027  see below
        """From the next call on, keep to these CPU threads, with all replicas together.

        May be called from any thread, also during `infer`. A runtime on an accelerator ignores it.

        Args:
            num_threads: For all calls at once together.
            num_workers: How many calls at once there may be; more than `num_threads` share them.
        """

    def close(self) -> None:  # noqa: B027  most have nothing to release
        """Release memory; the object is not used afterwards."""
