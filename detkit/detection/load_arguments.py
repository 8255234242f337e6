"""How a model was loaded, and in which other ways it could be.

Knows which libraries are installed; loads nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detkit.detection.model_files import find_model
from detkit.detection.runtimes.contract import Precision, RuntimeName
from detkit.detection.runtimes.selection import installed_runtimes


@dataclass(frozen=True, slots=True)
class LoadArguments:
    """The arguments of `load_model`: all that a copy in another process needs."""

    model_path: str
    device: str
    runtime: RuntimeName
    precision: Precision
    trust_weights: bool
    num_threads: int | None
    confidence_threshold: float
    iou_threshold: float
    max_detections: int
    image_size: int | tuple[int, int] | None


def other_ways(
    given: LoadArguments,
    library: str,
    precision: str,
    num_threads: Sequence[int],
    *,
    on_cpu: bool,
) -> list[dict[str, Any]]:
    """Arguments of `reload` that differ in speed from how the model is loaded now.

    Args:
        given: What `load_model` was allowed to choose.
        library: The library that it is loaded with.
        precision: The precision that it has.
        num_threads: Numbers of threads to try beside what the library takes by itself.
        on_cpu: Whether it runs there; elsewhere threads and other libraries are left out.
    """
    threads: list[dict[str, Any]] = [{}]
    if on_cpu and given.num_threads is None:
        threads += [{"num_threads": count} for count in num_threads]
    libraries: list[str] = [library] if given.runtime == "auto" else [given.runtime]
    if given.runtime == "auto" and on_cpu:
        found = installed_runtimes(find_model(given.model_path)[1])
        # Half a gigabyte and some seconds are much for a library that is never the fastest.
        libraries += [n for n in found if n != "ultralytics" or "torch" in sys.modules]
    choices: dict[str, dict[str, Any]] = {}
    for name in libraries:
        precisions: list[str] = [given.precision]
        if given.precision == "auto":
            precisions = ["fp32", precision] if name == library else ["fp32"]
        for wanted in precisions:
            for count in threads:
                choice = {"runtime": name, "precision": wanted, **count}
                choices[str(choice)] = choice
    choices.pop(str({"runtime": library, "precision": precision}), None)
    return list(choices.values())
