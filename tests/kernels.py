"""A real Jupyter kernel that tests send cells to, of whatever version ipykernel is installed."""

from __future__ import annotations

import ast
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[1]


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
def running_kernel() -> Iterator[Kernel]:
    """Start a kernel that finds this checkout, and end it."""
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    manager.start_kernel(env=environment, extra_arguments=["--log-level=ERROR"])
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
