"""T25: a preview that plays for long sends a real notebook no more than it can take."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kernels import Kernel, running_kernel
from stopwatch import Stopwatch

DISPLAYS_PER_S = 20
PICTURES_PER_S = 26  # those of a film, by rule 5 of `frame_channel`; they are no display messages
MESSAGE_BYTES = 1_000_000
NOTEBOOK_BYTES = 5_000_000

SETUP = """
from itertools import count
import cv2
from detkit import AsyncDetector
from detkit.samples import sample_detector, scene
from detkit.video.frames import Frame
from detkit.widgets import VideoPreview

pictures = [cv2.resize(scene(seed)[0], (1280, 720)) for seed in range(8)]
film = (Frame(pictures[n % 8], "film", n, n / 25) for n in count())
detector = AsyncDetector(sample_detector(), max_workers=1)
preview = VideoPreview(film, detector)
answer = preview.wait_for_frame()
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        yield kernel


def confirm(kernel: Kernel, comm_id: str, number: int) -> None:
    """What the page says when it has drawn a picture."""
    content = {"event": "shown", "number": number}
    data = {"method": "custom", "content": content}
    client = kernel.client
    client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm_id, "data": data}))


def size_of(message: dict[str, Any]) -> int:
    return len(json.dumps(message["content"])) + sum(len(b) for b in message["buffers"])


@pytest.mark.watchdog(900)
def test_t25_a_playing_preview_does_not_flood_the_notebook(
    kernel: Kernel, repetitions: Callable[[int, int], int]
) -> None:
    seconds = repetitions(4, 600)
    assert kernel.run(SETUP) is True
    shown = kernel.outputs("preview")
    kernel.run("preview.play()\nanswer = None")
    num_displays = num_pictures = num_messages = largest = total = 0
    stopwatch = Stopwatch()
    while (elapsed_s := stopwatch.wall_s) < seconds:
        try:
            message = kernel.client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        num_messages += 1
        size = size_of(message)
        largest, total = max(largest, size), total + size
        kind, content = message["msg_type"], message["content"]
        num_displays += kind in {"display_data", "update_display_data", "stream", "error"}
        state = content.get("data", {}).get("state", {}) if kind == "comm_msg" else {}
        if "number" in state and message["buffers"]:
            num_pictures += 1
            confirm(kernel, content["comm_id"], state["number"])
    kernel.run("preview.pause()\nanswer = None")
    stored = [*shown, *kernel.outputs("preview")]
    print(
        f"{seconds} s: {num_pictures / elapsed_s:.1f} pictures and {num_displays / elapsed_s:.1f} "
        f"display messages a second, {num_messages} messages of {largest / 1e3:.0f} kB at most, "
        f"{total / 1e6:.0f} MB; {len(json.dumps(stored)) / 1e3:.0f} kB in the notebook"
    )
    assert num_pictures > seconds, "it did not play"
    assert num_pictures <= PICTURES_PER_S * elapsed_s + 2
    assert num_displays <= DISPLAYS_PER_S * elapsed_s
    assert largest <= MESSAGE_BYTES
    assert len(json.dumps(stored)) <= NOTEBOOK_BYTES
    kernel.run("preview.close()\ndetector.shutdown()\nanswer = None")
