"""T22: the Stop button of a real kernel ends a cell at once and leaves the detector usable.

With ipykernel 7 and 6.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from kernels import IPYKERNELS, SIX, Kernel, running_kernel
from stopwatch import Stopwatch

import detkit.api
from detkit import AsyncDetector
from detkit.testing import FakeDetector, Gates, numbered_image, result_number

ROOT = Path(__file__).resolve().parents[2]
STOP_BOUND_S = 0.5
# While torch is imported two threads run Python, and where the importing one stands in line for a
# CPU the other waits with it: 0.2 to 0.7 s on a quiet machine, 1.5 s with eight times its work.
IMPORT_STOP_BOUND_S = 3.0
NEXT_CELL_BOUND_S = 1.0
ENGINE_FOLDER = detkit.api.__path__[0]
BEYOND = sys.maxsize

# One call takes 0.25 s for images from 1000 on, and 4 s for those from 2000 on.
SETUP = """
import asyncio, os, socket, sys, tempfile, threading
from detkit import AsyncDetector, YOLOv8Detector, detect_images, detect_multiple_async, detect_video
from detkit.detection.environment import import_ultralytics
from detkit.samples import sample_model_path
from detkit.video import Frame
from detkit.widgets import BenchmarkPanel
from detkit.testing import (
    FakeDetector, image_number, numbered_image, numbered_result, result_number
)

entered = threading.Event()

def behave(images):
    numbers = [image_number(image) for image in images]
    if max(numbers) >= 1000:
        entered.set()
        threading.Event().wait(4 if max(numbers) >= 2000 else 0.25)
    return [numbered_result(number) for number in numbers]

def new_detector():
    return AsyncDetector(FakeDetector(behaviour=behave), max_workers=16, default_batch_size=1)

def announce():
    entered.clear()
    threading.Thread(target=lambda: (entered.wait(10), print("started", flush=True))).start()

detector = new_detector()
very_slow = numbered_image(2000)
many = [numbered_image(1000 + n) for n in range(400)]
frames = [Frame(image, "clip", n, n / 25) for n, image in enumerate(many)]

camera = socket.create_server(("127.0.0.1", 0))  # takes calls and never says a word
calls = []

def take_calls():
    while True:
        calls.append(camera.accept())
        entered.set()

threading.Thread(target=take_calls, daemon=True).start()
address = f"rtsp://127.0.0.1:{camera.getsockname()[1]}/door"

def load():
    YOLOv8Detector().load_model(sample_model_path(".pt"))
    entered.set()

def convert():
    os.environ["DETKIT_CACHE_DIR"] = tempfile.mkdtemp()
    YOLOv8Detector().load_model(sample_model_path(".pt"), on_progress=lambda text: entered.set())
"""

CELLS = {
    "await one": "await detector.detect_async(very_slow)",
    "await batch": "await detector.detect_batch_async(many)",
    "gather": "await detect_multiple_async(detector, many)",
    "stream": "async for result in detector.stream(iter(many)): pass",
    "sync one": "detector.detect(very_slow)",
    "sync batch": "detector.detect_batch(many)",
    "sync map": "for result in detector.map(many): pass",
    "images": "for record in detect_images(detector, many): pass",
    "images async": "async for record in detect_images(detector, many): pass",
    "video": "for frame, result in detect_video(detector, frames): pass",
    "video async": "async for frame, result in detect_video(detector, frames): pass",
    "camera": "for frame, result in detect_video(detector, address): pass",
    "camera async": "async for frame, result in detect_video(detector, address): pass",
    "close": "detector.submit(very_slow); await detector.aclose()",
    "with": "with new_detector() as other: other.detect(very_slow)",
    "async with": "async with new_detector() as other: await other.detect_async(very_slow)",
    "load": "while True: load()",
    "convert": "import_ultralytics()\nwhile True: convert()",
    # The last: a panel goes on in the background.
    "panel": "panel = BenchmarkPanel(new_detector(), many[:2]); panel.run(); panel.wait(60)",
}

# Those that hand out results leave behind what there was.
KEEPING = {kind for kind in CELLS if kind.split()[0] in {"gather", "stream", "images", "video"}}
KEEPING |= {"await batch", "sync batch", "sync map"}

# A load that was stopped goes on to its end.
QUIET = """
for thread in threading.enumerate():
    if thread.name == "detkit-apart": thread.join()
"""
STATE = """
async def state():
    global detector
    if detector.get_stats()["shutdown"]:
        detector = new_detector()
    number = result_number(await detector.detect_async(numbered_image(7)))
    stats = detector.statistics()
    kept, detector.last_run = detector.last_run, None
    tasks = [t for t in asyncio.all_tasks() if "detkit" in repr(t.get_coro())]
    return [number, stats.queue_depth + stats.blocked + stats.running, len(tasks), bool(kept)]
answer = await state()
"""


@pytest.fixture(scope="module", params=IPYKERNELS)
def ipykernel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kernel(ipykernel: str) -> Iterator[Kernel]:
    with running_kernel(ipykernel) as kernel:
        kernel.run(SETUP)
        yield kernel


@pytest.mark.watchdog(60)
@pytest.mark.parametrize("kind", CELLS)
def test_t22_the_stop_button_ends_a_cell(
    kernel: Kernel, ipykernel: str, kind: str, repetitions: Callable[[int, int], int]
) -> None:
    assert kernel.run(QUIET + STATE)[:3] == [7, 0, 0]
    stopped_s, next_s = [], []
    for _ in range(repetitions(1 if ipykernel == SIX else 3, 10)):
        request = kernel.start(f"announce()\n{CELLS[kind]}")
        kernel.wait_for_output(request, "started")
        stopwatch = Stopwatch(kernel.pid)
        kernel.manager.interrupt_kernel()
        content = kernel.reply(request)
        stopped_s.append(stopwatch.elapsed_s)
        assert content["status"] == "error", "the cell ended by itself"
        assert content["ename"] in {"KeyboardInterrupt", "CancelledError"}, content
        stopwatch = Stopwatch(kernel.pid)
        assert kernel.run(STATE) == [7, 0, 0, kind in KEEPING]
        next_s.append(stopwatch.elapsed_s)
    print(f"{kind}: stopped in {max(stopped_s):.2f} s, next cell took {max(next_s):.2f} s")
    assert max(stopped_s) <= STOP_BOUND_S
    assert max(next_s) <= NEXT_CELL_BOUND_S


# The last part of `import torch` that is looked for: the longest native part is behind it.
FIRST_LOAD = """
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            entered.set()

sys.meta_path.insert(0, Watch())
announce()
convert()
"""


@pytest.mark.watchdog(90)
def test_t22_the_stop_button_ends_the_first_load_of_a_checkpoint_and_breaks_nothing(
    ipykernel: str,
) -> None:
    """An interrupted `import torch` cannot be repeated in the same process."""
    with running_kernel(ipykernel) as kernel:
        kernel.run(SETUP + "\nanswer = None")
        request = kernel.start(FIRST_LOAD)
        kernel.wait_for_output(request, "started")
        stopwatch = Stopwatch(kernel.pid)
        kernel.manager.interrupt_kernel()
        assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
        stopped_s = stopwatch.elapsed_s
        print(f"first load: stopped in {stopped_s:.2f} s")
        assert stopped_s <= IMPORT_STOP_BOUND_S
        assert "openvino" in kernel.run(
            "detector = YOLOv8Detector(); detector.load_model(sample_model_path('.pt'))\n"
            "answer = repr(detector)"
        )
        kept = "os.listdir(os.path.join(os.environ['DETKIT_CACHE_DIR'], 'converted'))"
        (entry,) = kernel.run(f"answer = {kept}")
        assert not entry.startswith("."), "half of an entry was left"


@pytest.mark.parametrize("ordered", [True, False])
def test_t22_an_interrupted_map_gives_up_every_image(ordered: bool) -> None:
    """Also the one that it was waiting for."""
    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def stop() -> None:
        gates.at("in_detector").wait_for_arrivals(2)
        signal.pthread_kill(main_thread, signal.SIGINT)

    with AsyncDetector(fake, max_workers=2, default_batch_size=1) as detector, gates:
        thread = threading.Thread(target=stop)
        series = detector.map([numbered_image(n) for n in range(9)], ordered=ordered)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            next(series)
        thread.join()
        stats = detector.statistics()
        assert (stats.queue_depth, stats.running, stats.succeeded) == (0, 0, 0)
        assert stats.cancelled == stats.submitted >= 2
        gates.open_all()
        assert result_number(detector.detect(numbered_image(20))) == 20
    assert len(fake.seen) == 3, "only what ran at the interrupt, and the last"


def interrupted_map(nth: int, *, ordered: bool) -> int:
    """Take the first of nine results, with an interrupt at the `nth` call inside the engine.

    The interpreter looks for signals where Python calls a function and where a built-in returns:
    just there a profile function is called, so this tries every moment there is.

    Returns:
        The number of such moments in the whole call, if `nth` lies beyond them.
    """
    num_moments = 0

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        nonlocal num_moments
        if event in {"call", "c_return"} and frame.f_code.co_filename.startswith(ENGINE_FOLDER):
            num_moments += 1
            if num_moments == nth:
                raise KeyboardInterrupt

    gates = Gates()
    gates.at("in_detector").close()
    fake = FakeDetector(gates=gates)
    images = [numbered_image(n) for n in range(9)]
    detector = AsyncDetector(fake, max_workers=2, default_batch_size=1, max_queue_size=4)
    with detector, gates:
        series = detector.map(images, ordered=ordered, max_in_flight=9)
        opening = threading.Timer(0.5, gates.open_all)
        if nth == BEYOND:
            opening.start()
        sys.setprofile(interrupt)
        try:
            next(series)
        except KeyboardInterrupt:
            sys.setprofile(None)
            stats = detector.statistics()
            left = (stats.queue_depth, stats.blocked, stats.running, stats.succeeded)
            assert left == (0, 0, 0, 0), nth
            assert stats.cancelled == stats.submitted, nth
            gates.open_all()
            assert result_number(detector.detect(numbered_image(20), timeout_s=10)) == 20
            assert len(fake.seen) <= 3, "only what ran at the interrupt, and the last"
        finally:
            sys.setprofile(None)
            opening.cancel()
            series.close()
    return num_moments


@pytest.mark.watchdog(120)
@pytest.mark.parametrize("ordered", [True, False])
def test_t22_an_interrupt_at_any_moment_of_a_map_leaves_nothing_behind(ordered: bool) -> None:
    num_moments = interrupted_map(BEYOND, ordered=ordered)
    assert num_moments > 200
    for nth in range(1, num_moments):
        interrupted_map(nth, ordered=ordered)


@pytest.mark.parametrize("place", ["detect", "detect_batch", "shutdown", "submit"])
def test_t22_an_interrupt_ends_a_plain_wait(place: str) -> None:
    gates = Gates()
    gates.at("in_detector").close()
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    stopwatches: list[Stopwatch] = []

    def stop() -> None:
        gates.at("in_detector").wait_for_arrivals(1)
        stopwatches.append(Stopwatch())
        signal.pthread_kill(main_thread, signal.SIGINT)

    fake = FakeDetector(gates=gates)
    detector = AsyncDetector(fake, max_workers=1, default_batch_size=1, max_queue_size=2)
    image = numbered_image(1)
    calls: dict[str, Callable[[], object]] = {
        "detect": lambda: detector.detect(image),
        "detect_batch": lambda: detector.detect_batch([image] * 9),
        "shutdown": lambda: (detector.submit(image), detector.shutdown()),
        "submit": lambda: [detector.submit(image) for _ in range(9)],
    }
    thread = threading.Thread(target=stop)
    with gates:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            calls[place]()
        took_s = stopwatches[0].elapsed_s
        thread.join()
    detector.shutdown()
    assert took_s <= STOP_BOUND_S
