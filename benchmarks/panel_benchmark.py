"""What a `VideoPreview` shows, and what it costs the detector.

    python benchmarks/panel_benchmark.py [--rounds 5] [--seconds 5] [--soak-minutes 10]

Plays 1280 x 720 frames through the embedded model at full rate, once before a front that only
confirms pictures (what the panel itself costs) and once in a headless Chromium with JupyterLab on
the same cores (what somebody without a graphics card pays in all). Detection without a panel, with
a visible and with a hidden one take turns; then how long a move of a slider takes to show. With
`--soak-minutes`, also memory of kernel and page and the size of the saved notebook; a run without
it keeps the latest. Writes `benchmarks/results/panel_benchmark.json`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from widgets.jupyter_page import ROOT

from benchmarks.measurement import print_table, update_results
from benchmarks.panel_fronts import PANEL, Chromium, LightFront

SETUP = f"""import itertools, json, threading, time
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
preview.parts.speed.label = 'as fast as possible'

def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def panel_seconds():
    "CPU time of every thread that there would not be, or would rest, without the panel."
    total = 0
    for thread in threading.enumerate():
        if not thread.name.startswith(("detkit-worker", "detkit-player")):
            fields = Path(f"/proc/self/task/{{thread.native_id}}/stat").read_text().rsplit(")", 1)
            total += sum(map(int, fields[1].split()[11:13])) / 100
    return total

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
    before = preview.num_detected, channel.num_confirmed, panel_seconds()
    started = time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - started
    facts = {{
        "detected": (preview.num_detected - before[0]) / took,
        "displayed": (channel.num_confirmed - before[1]) / took,
        "kernel_share": (panel_seconds() - before[2]) / took,
        "is_hidden": preview.view.is_hidden,
        "width_px": preview.view.width_px,
        **preview.numbers(),
    }}
    preview.pause()
    preview.player.wait_for_rest(5)
    return facts

preview"""

# Press a key on the confidence slider, and wait until the page has drawn what follows from it.
_SLIDE = """new Promise(resolve => {{
    const root = document.querySelector('{panel}');
    const picture = root.querySelector('canvas');
    const slider = [...root.querySelectorAll('.widget-slider')]
        .find(s => s.innerText.startsWith('Confidence')).querySelector('.noUi-handle');
    const observer = new MutationObserver(() => {{
        if (picture.ariaLabel.endsWith(', 0 objects') !== {wants_none}) return;
        observer.disconnect();
        requestAnimationFrame(() => resolve(performance.now() - started));
    }});
    observer.observe(picture, {{ attributes: true }});
    slider.focus();
    const started = performance.now();
    const key = new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }});
    slider.dispatchEvent(key);
}})"""


def rates(front: LightFront | Chromium, rounds: int, seconds: float) -> dict[str, Any]:
    """Detection without a panel, with a visible one, with one scrolled away, in turns."""
    alone, visible, hidden = [], [], []
    core_ms: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        front.look(True)
        bare = front.call(f"bare_rate({seconds})")
        before, started = front.cpu_seconds(), time.perf_counter()
        seen = front.call(f"panel_rate({seconds})")
        took, after = time.perf_counter() - started, front.cpu_seconds()
        front.look(False)
        unseen = front.call(f"panel_rate({seconds})")
        assert unseen["is_hidden"] and not seen["is_hidden"], (
            "it does not know whether it can be seen"
        )
        print(
            f"  round {turn}: alone {bare:.1f}/s, visible {seen['detected']:.1f}/s and "
            f"{seen['displayed']:.1f} shown, hidden {unseen['detected']:.1f}/s",
            flush=True,
        )
        if turn:  # the first round warms up
            alone.append(bare)
            visible.append(seen)
            hidden.append(unseen["detected"] / bare)
            shares = {name: (after[name] - before[name]) / took for name in before}
            for name, share in {"kernel": seen["kernel_share"], **shares}.items():
                core_ms.setdefault(name, []).append(1e3 * share / max(seen["displayed"], 0.1))
    front.look(True)
    costs = [1 - seen["detected"] / bare for seen, bare in zip(visible, alone, strict=True)]
    return {
        "detected_per_s_without_panel": round(statistics.median(alone), 1),
        "displayed_per_s": round(statistics.median(s["displayed"] for s in visible), 1),
        "picture_width_px": visible[0]["width_px"],
        "cost_visible": round(statistics.median(costs), 3),
        "cost_hidden": round(1 - statistics.median(hidden), 3),
        "core_ms_per_picture": {n: round(statistics.median(v), 1) for n, v in core_ms.items()},
        "round_trip_ms": round(statistics.median(s["round_trip_ms"] for s in visible)),
        "displayed_per_s_of_each_round": [round(s["displayed"], 1) for s in visible],
        "cost_of_each_round": [
            [round(c, 3), round(1 - h, 3)] for c, h in zip(costs, hidden, strict=True)
        ],
    }


def slider(page: Chromium, moves: int = 20) -> dict[str, Any]:
    """From a key on the confidence slider to the redrawn picture, at rest and at full rate."""
    facts: dict[str, Any] = {}
    for name, action in (("paused", "pause"), ("playing", "play")):
        page.call(f"preview.{action}()")
        time.sleep(1)
        took = sorted(
            page.evaluate(_SLIDE.format(panel=PANEL, key=key, wants_none=wants_none))
            for _ in range(moves // 2)
            for key, wants_none in (("End", "true"), ("Home", "false"))
        )
        facts[f"{name}_median_ms"] = round(statistics.median(took))
        facts[f"{name}_worst_ms"] = round(took[-1])
    page.call("preview.pause()")
    return facts


def soak(page: Chromium, minutes: float) -> dict[str, Any]:
    """Memory while the preview plays on, after a tenth of the time; and the saved notebook."""
    page.call("preview.play()")
    samples: list[tuple[float, ...]] = []
    started = time.perf_counter()
    time.sleep(6 * minutes)
    while (passed := (time.perf_counter() - started) / 60) < minutes:
        samples.append((passed, page.call("memory()"), *page.memory_mb()))
        print(
            "  {:.1f} min: kernel {:.0f}, heap {:.1f}, browser {:.0f} MB".format(*samples[-1]),
            flush=True,
        )
        time.sleep(min(20.0, 6 * minutes))
    displayed = page.call("preview.num_displayed")
    page.call("preview.pause()")
    page.run_command("docmanager:save")
    half = len(samples) // 2
    growth = [
        statistics.median(s[n] for s in samples[half:])
        - statistics.median(s[n] for s in samples[:half])
        for n in (1, 2, 3)
    ]
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "minutes": minutes,
        "num_displayed": displayed,
        "kernel_growth_mb": round(growth[0], 1),
        "page_heap_growth_mb": round(growth[1], 2),
        "browser_growth_mb": round(growth[2], 1),
        "saved_notebook_mb": round(page.notebook.stat().st_size / 1e6, 2),
        "samples_min_kernel_heap_browser_mb": [[round(v, 1) for v in s] for s in samples],
    }


def main() -> None:
    """Measure everything, print it, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="0: only the soak")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--soak-minutes", type=float, default=0.0, help="of preview; 0: none")
    given = parser.parse_args()
    findings: dict[str, Any] = {}
    if given.rounds:
        light = LightFront(SETUP)
        try:
            findings["kernel_alone"] = rates(light, given.rounds, given.seconds)
        finally:
            light.close()
    with tempfile.TemporaryDirectory() as folder:
        page = Chromium(SETUP, Path(folder))
        try:
            if given.rounds:
                findings["in_chromium"] = rates(page, given.rounds, given.seconds)
                findings["slider"] = slider(page)
            if given.soak_minutes:
                findings["soak"] = soak(page, given.soak_minutes)
        finally:
            page.close()
    rows = [
        (f"{group}: {name}", value)
        for group, facts in findings.items()
        for name, value in facts.items()
        if not isinstance(value, list)
    ]
    print_table("The preview", ("what", "measured"), rows)
    print(f"\nwritten to {update_results('panel_benchmark', findings).name}")


if __name__ == "__main__":
    main()
