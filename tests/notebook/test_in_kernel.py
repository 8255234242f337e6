"""In a real kernel: every way of waiting works, re-running leaks nothing, outputs stay small.

With ipykernel 7 and 6.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
from kernels import INSTALLED, IPYKERNELS, SIX, Kernel, running_kernel

SETUP = """
import asyncio, gc, threading
import psutil
from detkit import AsyncDetector, PartialBatchError, detect_images, detect_multiple_async, run
from detkit.notebook import enable_nested_asyncio, show_grid
from detkit.testing import FakeDetector, numbered_image, result_number

images = [numbered_image(n) for n in range(20)]
detector = AsyncDetector(FakeDetector(fail_on={99}), max_workers=2)
async def one(): return result_number(await detector.detect_async(images[3]))
"""

RERUN_BOUND_BYTES = 30_000_000


@pytest.fixture(scope="module", params=IPYKERNELS)
def ipykernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kernel(ipykernel: str) -> Iterator[Kernel]:
    with running_kernel(ipykernel) as kernel:
        kernel.run(SETUP)
        yield kernel


def test_the_kernel_is_of_the_version_that_is_meant(kernel: Kernel, ipykernel: str) -> None:
    version = kernel.run("import ipykernel\nanswer = ipykernel.__version__")
    expected = {SIX: "6", INSTALLED: metadata.version("ipykernel").split(".")[0]}
    assert version.split(".")[0] == expected[ipykernel]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("answer = await one()", 3),
        ("answer = sum(await asyncio.gather(*(one() for _ in range(5))))", 15),
        ("answer = len(await detect_multiple_async(detector, images))", 20),
        ("answer = len(await detector.detect_batch_async(images))", 20),
        ("answer = [result_number(r) async for r in detector.stream(images[:3])]", [0, 1, 2]),
        ("answer = [r.index async for r in detect_images(detector, images[:3])]", [0, 1, 2]),
        ("answer = result_number(detector.detect(images[4]))", 4),
        ("answer = len(detector.detect_batch(images))", 20),
        ("answer = run(one())", 3),
        (
            "out = []\n"
            "t = threading.Thread(target=lambda: out.append(run(one()))); t.start(); t.join()\n"
            "answer = out[0]",
            3,
        ),
        ("async with AsyncDetector(FakeDetector()) as d: answer = len(await d.detect_async("
         "images[1]))", 1),
    ],
)  # fmt: skip
def test_every_way_of_waiting_works_in_a_cell(kernel: Kernel, code: str, expected: Any) -> None:
    assert kernel.run(code) == expected


def test_nested_asyncio_works_once_it_is_enabled_and_says_what_it_did(ipykernel: str) -> None:
    # In a kernel of its own: it cannot be undone.
    with running_kernel(ipykernel) as kernel:
        kernel.run(SETUP)
        with pytest.raises(AssertionError, match="RuntimeError"):
            kernel.run("answer = asyncio.run(one())")
        assert "applied" in kernel.run("answer = enable_nested_asyncio()")
        assert kernel.run("answer = asyncio.run(one())") == 3
        assert kernel.run("answer = asyncio.run(one()) + await one()") == 6
        assert kernel.run("answer = len(detector.detect_batch(images))") == 20


# Nothing is the value of a cell: IPython itself keeps those, in `Out`.
RERUN = {
    "well": """
with AsyncDetector(FakeDetector(), max_workers=2) as again:
    results = again.detect_batch(images, progress=True)
    results += [r async for r in again.stream(iter(images))]
    picture = show_grid(images[:4], results[:4])._repr_jpeg_()
results = detector.detect_batch(images)
""",
    "with an error": """
detector.detect_batch([*images, numbered_image(99)])
""",
    "left open": """
other = AsyncDetector(FakeDetector(), max_workers=2)
results = await other.detect_batch_async(images)
""",
}


@pytest.mark.watchdog(120)
@pytest.mark.parametrize("kind", RERUN)
def test_running_a_cell_fifty_times_leaks_nothing(kernel: Kernel, kind: str) -> None:
    # What the allocator holds back for later is no leak.
    measure = """
gc.collect()
import contextlib, ctypes
from ipywidgets.widgets import widget
with contextlib.suppress(AttributeError, OSError):
    ctypes.CDLL(None).malloc_trim(0)
memory = psutil.Process().memory_info().rss
answer = [threading.active_count(), memory, len(widget._instances), len(asyncio.all_tasks())]
"""

    def rerun() -> None:
        status = kernel.reply(kernel.start(RERUN[kind]))["status"]
        assert status == ("error" if "error" in kind else "ok")

    for _ in range(10):
        rerun()
    threads, memory, widgets, tasks = kernel.run(measure)
    for _ in range(50):
        rerun()
    threads_after, memory_after, widgets_after, tasks_after = kernel.run(measure)
    print(f"{kind}: {threads_after - threads} threads, {(memory_after - memory) / 1e6:.1f} MB")
    assert threads_after <= threads
    assert widgets_after == widgets
    assert tasks_after == tasks
    assert memory_after - memory < RERUN_BOUND_BYTES


def test_an_exception_in_a_cell_keeps_no_image_alive(kernel: Kernel) -> None:
    kernel.run("import weakref\nbad = numbered_image(99)\ngone = weakref.ref(bad)\nanswer = None")
    for call in ("await detector.detect_async(bad)", "detector.detect(bad)"):
        content = kernel.reply(kernel.start(call))
        assert (content["status"], content["ename"]) == ("error", "ValueError")
    assert kernel.run("del bad\ngc.collect()\nanswer = gone() is None") is True
    content = kernel.reply(kernel.start("detector.detect_batch([*images, numbered_image(99)])"))
    assert content["ename"] == "PartialBatchError"
    assert kernel.run("answer = await one()") == 3


def test_what_is_displayed_is_small_and_is_not_displayed_twice(kernel: Kernel) -> None:
    (alone,) = kernel.outputs("detector.detect(images[3])")
    assert set(alone["data"]) == {"text/html", "text/plain"}
    assert "<img" in alone["data"]["text/html"]
    assert len(json.dumps(alone)) <= 200_000
    (many,) = kernel.outputs("detector.detect_batch(images)")
    assert "20 images" in many["data"]["text/html"]
    assert len(json.dumps(many)) <= 200_000
    (figure,) = kernel.outputs("show_grid(images[:4], detector.detect_batch(images[:4]))")
    assert set(figure["data"]) == {"image/jpeg", "text/plain"}
    assert kernel.outputs("figure = show_grid(images[:4])") == []
    (numbers,) = kernel.outputs("[1, 2]")
    assert set(numbers["data"]) == {"text/plain"}


def test_a_bar_is_a_widget_while_it_runs_and_text_in_the_end(kernel: Kernel) -> None:
    (bar,) = kernel.outputs("results = detector.detect_batch(images, progress=True)")
    assert set(bar["data"]) == {"text/plain"}
    text = bar["data"]["text/plain"]
    assert "20/20" in text
    assert "images/s, 0 failed" in text
    assert kernel.outputs("results = detector.detect_batch(images)") == []


@pytest.mark.watchdog(90)
def test_a_kernel_restarts_cleanly_with_work_under_way(ipykernel: str) -> None:
    with running_kernel(ipykernel) as kernel:
        kernel.run(SETUP)
        kernel.run(
            "hold = threading.Event()\n"
            "busy = AsyncDetector(FakeDetector(behaviour=lambda images: hold.wait(60)))\n"
            "futures = [busy.submit(image) for image in images]\n"
            "reader = busy.map(iter(images))\nanswer = len(futures)"
        )
        kernel.manager.restart_kernel(now=False)
        kernel.client.wait_for_ready(timeout=60)
        assert kernel.run(SETUP + "\nanswer = await one()") == 3
