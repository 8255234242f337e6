"""Real Jupyter kernels that tests send cells to: of the ipykernel that is installed, and of 6.

The two differ in which thread a cell runs on, how an interrupt reaches it and where output of
threads goes. The environment variable `DETKIT_IPYKERNEL6` names the folder of the other one, made
by `pip install --no-deps --target FOLDER 'ipykernel<7'`: it needs nothing that 7 or detkit does
not bring along. Without it those tests are skipped, and in CI they fail.
"""

from __future__ import annotations

import ast
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[1]
INSTALLED, SIX = "installed", "ipykernel6"
SIX_FOLDER = os.environ.get("DETKIT_IPYKERNEL6", "")
IN_CI = os.environ.get("CI", "").lower() in ("true", "1")

# For `parametrize`, or as the `params` of a fixture.
IPYKERNELS = [
    pytest.param(INSTALLED, id=INSTALLED),
    pytest.param(
        SIX,
        id=SIX,
        marks=pytest.mark.skipif(
            not (SIX_FOLDER or IN_CI),
            reason="DETKIT_IPYKERNEL6 names no folder with ipykernel 6 (see CONTRIBUTING.md)",
        ),
    ),
]


class Kernel:
    """A running kernel that cells can be sent to."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client
        self.pid: int = manager.provisioner.pid  # type: ignore[union-attr, assignment]

    def start(self, code: str) -> str:
        # By default a cell that fails takes along what is sent within the next moment.
        return self.client.execute(
            code, user_expressions={"answer": "globals().get('answer')"}, stop_on_error=False
        )

    def wait_for_output(self, request: str, text: str) -> None:
        while True:
            message = self.client.get_iopub_msg(timeout=15)
            if message["parent_header"].get("msg_id") != request:
                continue
            assert message["msg_type"] != "error", message["content"]
            if message["msg_type"] == "stream" and text in message["content"]["text"]:
                return

    def reply(self, request: str) -> dict[str, Any]:
        while True:
            message = self.client.get_shell_msg(timeout=15)
            if message["parent_header"].get("msg_id") == request:
                content: dict[str, Any] = message["content"]
                return content

    def run(self, code: str) -> Any:
        content = self.reply(self.start(code))
        assert content["status"] == "ok", content
        return ast.literal_eval(content["user_expressions"]["answer"]["data"]["text/plain"])

    def outputs(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; its displayed and printed outputs, as a notebook would store them."""
        request = self.start(code)
        outputs: list[dict[str, Any]] = []
        by_id: dict[str, dict[str, Any]] = {}
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "update_display_data":
                by_id[content["transient"]["display_id"]]["data"] = content["data"]
            elif kind in {"execute_result", "display_data", "stream", "error"}:
                outputs.append({"type": kind, **content})
                by_id[content.get("transient", {}).get("display_id", "")] = outputs[-1]
        self.reply(request)
        return outputs


@contextlib.contextmanager
def running_kernel(ipykernel: str = INSTALLED) -> Iterator[Kernel]:
    """Start a kernel that finds this checkout, and end it."""
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    paths = [str(ROOT)]
    if ipykernel == SIX:
        assert SIX_FOLDER, "CI must set DETKIT_IPYKERNEL6, see CONTRIBUTING.md"
        paths.insert(0, str(Path(SIX_FOLDER).resolve()))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    manager.start_kernel(env=environment, extra_arguments=["--log-level=ERROR"])
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
