"""detkit as it comes: bfloat16 where the CPU has it natively, which moves scores by about 0.01."""

from __future__ import annotations

from functools import partial

from benchmarks.contestants import detkit_fp32

TITLE = "detkit, as it comes"
PACKAGES = ("openvino",)
WAYS = {name: partial(way, precision="auto") for name, way in detkit_fp32.WAYS.items()}
WAYS["file_to_results"] = partial(detkit_fp32.video, precision="auto")
WAYS["file_to_file"] = partial(detkit_fp32.file_to_file, precision="auto")
