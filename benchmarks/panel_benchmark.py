"""What a `VideoPreview` shows in a real browser, and what it costs the detector.

    python benchmarks/panel_benchmark.py [--rounds 5] [--seconds 8] [--soak 600]

Starts JupyterLab on loopback and a headless Chromium, plays 1280 x 720 frames through the embedded
model at full rate, and measures displayed frames per second, how long a move of a slider takes to
show, what the panel costs detection when it is visible and when it is scrolled away, and, over
`--soak` seconds of preview, memory of the kernel and of the page, and the size of the saved
notebook. Detection without a panel, with a visible and with a hidden one take turns. Writes
`benchmarks/results/panel_benchmark.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from widgets.jupyter_page import ROOT, Lab, NotebookPage, open_browser

from benchmarks.measurement import print_table, write_results

SETUP = f"""import itertools, json, time
from pathlib import Path
from detkit import AsyncDetector
from detkit.samples import sample_detector
from detkit.video import VideoSource
from detkit.video.frames import Frame
from detkit.widgets import VideoPreview
from detkit.widgets.player import Player

images = [f.image for f in itertools.islice(VideoSource({str(ROOT / "data" / "belt.mp4")!r}), 50)]
assert images[0].shape == (720, 1280, 3)

class Endless:
    def __iter__(self):
        for n in itertools.count():
            yield Frame(images[n % 50], "belt", n, n / 25)

detector = AsyncDetector(sample_detector(), max_workers=2)
count = 0
def counted(shown):
    global count
    count += len(shown.outcome) > 0

def failed(error):
    raise error

bare = Player(Endless(), detector, on_frame=counted, on_state=lambda s: None, on_error=failed)
bare.set_speed(None)
preview = VideoPreview(Endless(), detector, max_width_px=1280)
preview.parts.speed.value = None

def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def bare_rate(seconds):
    bare.play()
    time.sleep(1)
    before, started = count, time.perf_counter()
    time.sleep(seconds)
    rate = (count - before) / (time.perf_counter() - started)
    bare.pause()
    bare.wait_for_rest(5)
    return rate

def panel_rate(seconds):
    preview.play()
    time.sleep(1)
    channel = preview.view.channel
    before, started = (preview.num_detected, channel.num_confirmed), time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - started
    detected, shown = preview.num_detected - before[0], channel.num_confirmed - before[1]
    preview.pause()
    preview.player.wait_for_rest(5)
    return detected / took, shown / took, preview.view.is_hidden, preview.numbers()

preview"""

_EXECUTE = """async code => {
    const session = window.jupyterapp.shell.currentWidget.context.sessionContext.session;
    const future = session.kernel.requestExecute({ code });
    let text = '';
    future.onIOPub = message => {
        if (message.header.msg_type === 'stream') text += message.content.text;
        if (message.header.msg_type === 'error') text += message.content.traceback.join('\\n');
    };
    await future.done;
    return text;
}"""

# Press a key on the confidence slider, and wait until the page has drawn what follows from it.
_SLIDE = """([panel, key, wanted]) => new Promise(resolve => {
    const root = document.querySelector(panel);
    const image = root.querySelector('img');
    const slider = [...root.querySelectorAll('.widget-slider')]
        .find(s => s.innerText.startsWith('Confidence')).querySelector('.noUi-handle');
    const observer = new MutationObserver(async () => {
        if (image.alt.endsWith(', 0 objects') !== wanted) return;
        observer.disconnect();
        await image.decode().catch(() => null);
        requestAnimationFrame(() => resolve(performance.now() - started));
    });
    observer.observe(image, { attributes: true });
    slider.focus();
    const started = performance.now();
    slider.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
})"""
_SCROLL = """to => {
    const notebook = document.querySelector('.jp-WindowedPanel-outer');
    notebook.scrollTop = to === 'top' ? 0 : notebook.scrollHeight;
}"""
PANEL = ".jp-OutputArea .detkit-panel"


class Bench:
    """One notebook with one preview in it."""

    def __init__(self, page: NotebookPage, browser_processes: list[psutil.Process]) -> None:
        self.page = page
        self._browser = browser_processes

    def call(self, expression: str) -> Any:
        """The value of a Python expression in the kernel."""
        code = f"import json; print(json.dumps({expression}))"
        text = self.page.page.evaluate(_EXECUTE, code)
        try:
            return json.loads(text)
        except ValueError:
            raise RuntimeError(f"the kernel answered: {text[-2000:]}") from None

    def scroll(self, to: str) -> None:
        """Bring the panel into view ("top") or out of it ("end")."""
        self.page.page.evaluate(_SCROLL, to)
        self.page.page.wait_for_timeout(300)

    def slide(self, key: str, wants_none: bool) -> float:
        """Milliseconds from a key on the confidence slider to the picture that it asks for."""
        return float(self.page.page.evaluate(_SLIDE, [PANEL, key, wants_none]))

    def page_memory_mb(self) -> tuple[float, float]:
        """Heap of the page after a collection, and resident memory of all browser processes."""
        session = self.page.page.context.new_cdp_session(self.page.page)
        session.send("HeapProfiler.collectGarbage")
        session.send("Performance.enable")
        metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
        session.detach()
        resident = sum(p.memory_info().rss for p in self._browser if p.is_running())
        return metrics["JSHeapUsedSize"] / 2**20, resident / 2**20


def rates(bench: Bench, rounds: int, seconds: float) -> dict[str, Any]:
    """Detection without a panel, with a visible one, with one scrolled away, in turns."""
    bare, visible, hidden, shown, age = [], [], [], [], []
    for turn in range(rounds + 1):
        bench.scroll("top")
        alone = bench.call(f"bare_rate({seconds})")
        seen = bench.call(f"panel_rate({seconds})")
        bench.scroll("end")
        unseen = bench.call(f"panel_rate({seconds})")
        assert not seen[2] and unseen[2], "the panel does not know whether it can be seen"
        if turn:  # the first round warms up
            bare.append(alone)
            visible.append(seen[0] / alone)
            hidden.append(unseen[0] / alone)
            shown.append(seen[1])
            age.append(seen[3]["frame_age_ms"])
        print(
            f"  round {turn}: alone {alone:.1f}/s, visible {seen[0]:.1f}/s and {seen[1]:.1f} "
            f"shown, hidden {unseen[0]:.1f}/s",
            flush=True,
        )
    bench.scroll("top")
    return {
        "detected_per_s_without_panel": round(statistics.median(bare), 1),
        "displayed_per_s": round(statistics.median(shown), 1),
        "displayed_per_s_of_each_round": [round(s, 1) for s in shown],
        "cost_visible": round(1 - statistics.median(visible), 3),
        "cost_hidden": round(1 - statistics.median(hidden), 3),
        "cost_of_each_round": [
            [round(1 - v, 3), round(1 - h, 3)] for v, h in zip(visible, hidden, strict=True)
        ],
    }


def slider(bench: Bench, moves: int = 20) -> dict[str, Any]:
    """From a key on the confidence slider to the redrawn picture, at rest and at full rate."""
    facts: dict[str, Any] = {}
    for name, action in (("paused", "pause"), ("playing", "play")):
        bench.call(f"preview.{action}()")
        bench.page.page.wait_for_timeout(1000)
        took = sorted(
            bench.slide(key, wants_none)
            for _ in range(moves // 2)
            for key, wants_none in (("End", True), ("Home", False))
        )
        facts[f"{name}_median_ms"] = round(statistics.median(took))
        facts[f"{name}_worst_ms"] = round(took[-1])
    bench.call("preview.pause()")
    return facts


def soak(bench: Bench, seconds: float, notebook: Path) -> dict[str, Any]:
    """Memory while the preview plays on, from its second minute at the earliest; and the file."""
    bench.call("preview.play()")
    samples = []
    started = time.perf_counter()
    bench.page.page.wait_for_timeout(min(60.0, seconds / 5) * 1000)
    while time.perf_counter() - started < seconds:
        heap, resident = bench.page_memory_mb()
        minutes = (time.perf_counter() - started) / 60
        samples.append((minutes, bench.call("memory()"), heap, resident))
        print("  {:.1f} min: kernel {:.0f}, heap {:.1f}, browser {:.0f} MB".format(*samples[-1]))
        bench.page.page.wait_for_timeout(min(30.0, seconds / 10) * 1000)
    bench.call("preview.pause()")
    bench.page.command("docmanager:save")
    half = len(samples) // 2
    growth = [
        statistics.median(s[n] for s in samples[half:])
        - statistics.median(s[n] for s in samples[:half])
        for n in (1, 2, 3)
    ]
    return {
        "seconds": seconds,
        "samples_min_kernel_heap_browser_mb": [[round(v, 1) for v in s] for s in samples],
        "kernel_growth_mb": round(growth[0], 1),
        "page_heap_growth_mb": round(growth[1], 2),
        "browser_growth_mb": round(growth[2], 1),
        "saved_notebook_mb": round(notebook.stat().st_size / 1e6, 2),
    }


def main() -> None:
    """Measure everything, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--soak", type=float, default=600.0, help="seconds of preview; 0: none")
    given = parser.parse_args()
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    below = nbformat.v4.new_markdown_cell("\n\n".join(["below"] * 120))
    notebook.cells = [nbformat.v4.new_code_cell(SETUP), below]
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        path = lab.folder / "files" / "preview.ipynb"
        nbformat.write(notebook, path)
        before = {p.pid for p in psutil.Process().children(recursive=True)}
        try:
            lab.wait_until_up()
            with open_browser() as browser:
                page = NotebookPage(browser, lab, path.name)
                page.run_all()
                page.page.wait_for_selector(f"{PANEL} img")
                children = psutil.Process().children(recursive=True)
                ours = [p for p in children if p.pid not in before and "chrom" in p.name()]
                bench = Bench(page, ours)
                findings = {"rates": rates(bench, given.rounds, given.seconds)}
                findings["slider"] = slider(bench)
                if given.soak:
                    findings["soak"] = soak(bench, given.soak, path)
        finally:
            lab.close()
    rows = [
        (f"{g}: {k}", v)
        for g, facts in findings.items()
        for k, v in facts.items()
        if not isinstance(v, list)
    ]
    print_table("The preview in a browser", ("what", "measured"), rows)
    print(f"\nwritten to {write_results('panel_benchmark', findings).name}")


if __name__ == "__main__":
    main()
