"""T14: however Python ends, it ends in time, with its own exit code, and without a word.

Each ending is a program of its own that says "ending" right before it ends. What it leaves
running is inside native code, where a daemon thread that wakes during the end aborts Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "detkit" / "samples" / "weights" / "parts.onnx"
EXIT_BOUND_S = 6.0
NUM_AT_ONCE = 2

PRELUDE = """
import asyncio, ctypes, os, signal, sys, threading, time
from detkit import AsyncDetector
from detkit.testing import FakeDetector, image_number, numbered_image, numbered_result

libc = ctypes.CDLL(None)
entered = threading.Event()
images = [numbered_image(n) for n in range(100)]
sys.excepthook = lambda *_: None  # what it would print is the program's own affair

def sleep():
    libc.usleep(300_000)

def forever():
    libc.pause()

def detector_in(native, kind=FakeDetector):
    def behave(images):
        entered.set()
        native()
        return [numbered_result(image_number(image)) for image in images]
    return AsyncDetector(kind(behaviour=behave), max_workers=2, default_batch_size=4)

def ending():
    assert entered.wait(10)
    print("ending", flush=True)
"""


class Ending(NamedTuple):
    """A program and how it must end."""

    program: str
    exit_code: int = 0
    stderr: str = ""


ENDINGS: dict[str, Ending] = {
    "never closed, idle": Ending("""
        detector = detector_in(lambda: None)
        detector.detect(images[0])
        ending()
    """),
    "busy in OpenVINO": Ending(f"""
        import numpy as np
        from detkit import YOLOv8Detector
        model = YOLOv8Detector()
        model.load_model({str(WEIGHTS)!r}, device="cpu")
        detector = AsyncDetector(model, max_workers=2, default_batch_size=4)
        image = np.zeros((640, 640, 3), np.uint8)
        detector.detect(image)
        futures = [detector.submit(image) for _ in range(200)]
        futures[0].add_done_callback(lambda _: entered.set())
        ending()
    """),
    "busy in numpy": Ending("""
        import numpy as np
        matrix = np.ones((400, 400), np.float32)
        def native():
            end = time.perf_counter() + 0.3
            while time.perf_counter() < end:
                matrix @ matrix
        detector = detector_in(native)
        futures = [detector.submit(image) for image in images[:8]]
        ending()
    """),
    "busy in OpenCV": Ending("""
        import cv2, numpy as np
        picture = np.zeros((1500, 1500, 3), np.uint8)
        def native():
            for _ in range(3):
                cv2.GaussianBlur(picture, (0, 0), 9)
        detector = detector_in(native)
        futures = [detector.submit(image) for image in images[:8]]
        ending()
    """),
    "a source that blocks for ever": Ending("""
        detector = detector_in(lambda: None)
        def source():
            yield images[0]
            libc.pause()
        async def main():
            stream = detector.stream(source())
            await stream.__anext__()
            waiting = asyncio.ensure_future(stream.__anext__())
            await asyncio.wait([waiting], timeout=0.05)
            ending()
        asyncio.run(main())
    """),
    "pending futures": Ending("""
        detector = detector_in(sleep)
        futures = [detector.submit(image) for image in images]
        ending()
    """),
    "an open stream": Ending("""
        detector = detector_in(sleep)
        def source():
            yield from images
        loop = asyncio.new_event_loop()
        stream = detector.stream(source())
        loop.run_until_complete(stream.__anext__())
        ending()
    """),
    "an exception": Ending("""
        detector = detector_in(sleep)
        futures = [detector.submit(image) for image in images]
        ending()
        raise ValueError("the program's own")
    """, 1),
    "sys.exit": Ending("""
        detector = detector_in(sleep)
        futures = [detector.submit(image) for image in images]
        ending()
        sys.exit(3)
    """, 3),
    "SIGINT": Ending("""
        detector = detector_in(sleep)
        def interrupt():
            ending()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        detector.detect_batch(images)
    """, -2),
    "SIGTERM": Ending("""
        detector = detector_in(sleep)
        futures = [detector.submit(image) for image in images]
        ending()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(10)
    """, -15),
    "SIGTERM, handled": Ending("""
        detector = detector_in(sleep)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        def terminate():
            ending()
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=terminate).start()
        asyncio.run(detector.detect_batch_async(images))
    """, 143),
    "sys.exit inside asyncio.run": Ending("""
        detector = detector_in(sleep)
        async def main():
            tasks = [asyncio.ensure_future(detector.detect_async(image)) for image in images]
            batch = asyncio.ensure_future(detector.detect_batch_async(images))
            await tasks[0]
            ending()
            sys.exit(4)
        asyncio.run(main())
    """, 4),
    "during model load": Ending("""
        class Loading(FakeDetector):
            def replicate(self):
                entered.set()
                sleep()
                return super().replicate()
        detector = detector_in(lambda: libc.usleep(200_000), Loading)
        entered.clear()
        futures = [detector.submit(image) for image in images]
        ending()
    """),
}  # fmt: skip


class Outcome(NamedTuple):
    exit_code: int
    stderr: str
    took_s: float


def run_program(program: str) -> Outcome:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
    text = PRELUDE + textwrap.dedent(program)
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        started = time.perf_counter()
        try:
            _, stderr = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            _, stderr = process.communicate()
            stderr += "\nit hung"
        took_s = time.perf_counter() - started
    assert said == "ending\n", f"it failed before its end: {stderr}"
    return Outcome(process.returncode, stderr, took_s)


@pytest.mark.watchdog(90)
@pytest.mark.parametrize("name", ENDINGS)
def test_t14_the_interpreter_ends(name: str, repetitions: Callable[[int, int], int]) -> None:
    ending = ENDINGS[name]
    with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
        outcomes = list(pool.map(run_program, [ending.program] * repetitions(3, 20)))
    print(f"{name}: {max(o.took_s for o in outcomes):.2f} s")
    for outcome in outcomes:
        assert (outcome.exit_code, outcome.stderr) == (ending.exit_code, ending.stderr)
        assert outcome.took_s <= EXIT_BOUND_S


@pytest.mark.watchdog(60)
def test_t14_a_call_that_never_returns_is_mentioned_and_left_behind() -> None:
    outcome = run_program("""
        detector = detector_in(forever)
        futures = [detector.submit(image) for image in images]
        ending()
    """)
    assert outcome.exit_code == 0
    assert outcome.stderr == "detkit: a worker is still inside its detector while Python exits\n"
    assert outcome.took_s <= EXIT_BOUND_S


def shut_a_kernel_down(stderr_file: Path) -> Outcome:
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    with stderr_file.open("w") as stderr:
        manager.start_kernel(
            env=environment,
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            extra_arguments=["--log-level=ERROR"],  # it warns of its own transport
        )
        client = manager.blocking_client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=60)
            cell = PRELUDE + textwrap.dedent("""
                detector = detector_in(sleep)
                futures = [detector.submit(image) for image in images]
                entered.wait(10)
                task = asyncio.ensure_future(detector.detect_batch_async(images))
            """)
            reply = client.execute_interactive(cell, timeout=60, output_hook=lambda _: None)
            assert reply["content"]["status"] == "ok", reply["content"]
            process = manager.provisioner.process  # type: ignore[union-attr]
            started = time.perf_counter()
            client.shutdown()
            exit_code = process.wait(timeout=15)
            took_s = time.perf_counter() - started
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    return Outcome(exit_code, stderr_file.read_text(), took_s)


@pytest.mark.watchdog(120)
def test_t14_a_kernel_shuts_down(tmp_path: Path, repetitions: Callable[[int, int], int]) -> None:
    files = [tmp_path / f"{i}.txt" for i in range(repetitions(3, 20))]
    with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
        outcomes = list(pool.map(shut_a_kernel_down, files))
    print(f"kernel: {max(o.took_s for o in outcomes):.2f} s")
    for outcome in outcomes:
        assert (outcome.exit_code, outcome.stderr) == (0, "")
        assert outcome.took_s <= EXIT_BOUND_S
