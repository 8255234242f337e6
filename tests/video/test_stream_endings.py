"""Streams that are left: thread, descriptor and interpreter are given back."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stream_server import HTTP_OK, USER, Server, Visit, transport_stream

from detkit.video import StreamSource

pytestmark = pytest.mark.usefixtures("nothing_secret_is_printed")


def test_leaving_early_releases_thread_and_descriptor(tmp_path: Path) -> None:
    ts = transport_stream(tmp_path)

    def endless(visit: Visit) -> None:
        visit.request()
        visit.send(HTTP_OK)
        while True:
            visit.send(ts)

    with Server(endless) as server:

        def leave() -> None:
            for frame in StreamSource(server.address()):
                if frame.frame_index == 5:
                    break
            gc.collect()

        leave()
        threads, descriptors = threading.active_count(), open_descriptors()
        for _ in range(3):
            leave()
        # The server's own end of each connection is closed by its thread, in its own time.
        for visit in server._threads:
            visit.join(10)
        assert threading.active_count() <= threads
        assert open_descriptors() <= descriptors


def open_descriptors() -> int:
    folder = Path("/proc/self/fd")  # Linux alone has it; elsewhere the test compares 0 with 0.
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_the_interpreter_ends_while_a_read_is_blocked() -> None:
    script = (
        "import sys; from detkit.video import ReadAhead, StreamSource\n"
        "ahead = ReadAhead(iter(StreamSource(sys.argv[1])))\n"
        "sys.stdin.read(1)\n"
    )
    connected = threading.Event()

    def says_nothing(visit: Visit) -> None:
        visit.request()
        connected.set()
        visit.stall()

    with Server(says_nothing) as server:
        command = [sys.executable, "-X", "dev", "-c", script, server.address(user=USER)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert connected.wait(30)
            out, err = process.communicate(b"x", timeout=30)
    assert (process.returncode, out, err) == (0, b"", b"")
