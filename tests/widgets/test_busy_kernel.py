"""A real kernel with a busy cell: what a page sends to a subshell reaches the panel."""

from __future__ import annotations

from typing import Any

from kernels import Kernel, running_kernel

SETUP = """
import threading
import numpy as np
from detkit import DetectionResult
from detkit.widgets import ResultBrowser
images, results = [np.zeros((9, 9, 3), np.uint8)] * 2, [DetectionResult.empty()] * 2
answer = None
"""
# The cell makes the panel, shows it, and does not end before somebody has moved its slider.
BUSY = """
moved = threading.Event()
browser = ResultBrowser(images, results, page_size=1)
browser.parts.confidence.observe(lambda _: moved.set(), "value")
display(browser)
print(browser.parts.confidence.model_id)
answer = moved.wait(10), browser.parts.confidence.value
"""


def ask(kernel: Kernel, kind: str) -> dict[str, Any]:
    """A request on the control channel, which a busy cell does not stop."""
    client = kernel.client
    message = client.session.msg(kind, {})
    client.control_channel.send(message)
    while True:
        reply = client.control_channel.get_msg(timeout=20)
        if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            content: dict[str, Any] = reply["content"]
            return content


def printed(kernel: Kernel, request: str) -> str:
    while True:
        message = kernel.client.get_iopub_msg(timeout=20)
        is_ours = message["parent_header"].get("msg_id") == request
        if is_ours and message["msg_type"] == "stream":
            return str(message["content"]["text"]).strip()


def set_value(kernel: Kernel, subshell_id: str, comm_id: str, value: float) -> None:
    """What JupyterLab sends when a person moves a slider."""
    data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
    client = kernel.client
    message = client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
    message["header"]["subshell_id"] = subshell_id
    client.shell_channel.send(message)


def test_a_panel_that_a_busy_cell_has_made_answers() -> None:
    with running_kernel() as kernel:
        kernel.run(SETUP)
        subshell_id = ask(kernel, "create_subshell_request")["subshell_id"]
        request = kernel.start(BUSY)
        slider = printed(kernel, request)
        set_value(kernel, subshell_id, slider, 0.5)
        content = kernel.reply(request)
        assert content["user_expressions"]["answer"]["data"]["text/plain"] == "(True, 0.5)"
        assert kernel.run("browser.close()\nanswer = None") is None
