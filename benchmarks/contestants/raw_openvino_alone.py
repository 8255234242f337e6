"""OpenVINO's inference alone, one request with all cores: what a loop over frames can reach."""

from __future__ import annotations

from functools import partial

from benchmarks.contestants import raw_openvino

TITLE = "raw inference alone, one request"
PACKAGES = ("openvino",)
WAYS = {"file_to_results": partial(raw_openvino.file_to_results, num_requests=1)}
