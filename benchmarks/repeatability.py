"""Whether the same benchmark twice in a row says the same: `python -m benchmarks.repeatability`.

    python -m benchmarks.repeatability [--pairs 20] [--rounds 16] [--images 16]

Runs one short benchmark twice, `--pairs` times, and asks of each contestant whether `compare` finds
its second run no different from its first, and whether both runs give it the same verdict beside
the loop. The detector is the embedded model; the machine must be idle. Takes about two minutes and
writes `benchmarks/results/repeatability.json`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.measurement import print_table, write_results
from detkit import AsyncDetector, YOLOv8Detector
from detkit.benchmark import BenchmarkRun, Comparison, benchmark, compare, compare_all
from detkit.images import RGBImage
from detkit.samples import sample_detector, scene

LOOP, ENGINE = "loop", "AsyncDetector"
# What must agree, of all pairs.
GOAL = 0.95
_FIRST_SEED = 97_000

Pair = tuple[BenchmarkRun, BenchmarkRun]


def measure(
    detector: YOLOv8Detector, images: list[RGBImage], pairs: int, rounds: int
) -> list[Pair]:
    """The same benchmark twice in a row, again and again."""
    found = []
    with AsyncDetector(detector) as engine:
        contestants = {LOOP: detector, ENGINE: engine}
        if engine.detect_batch(images) != [detector.detect(image) for image in images]:
            raise SystemExit("AsyncDetector disagrees with the loop: not timed")
        for number in range(pairs):
            first, second = (
                benchmark(contestants, images, rounds=rounds, warm_up=1) for _ in range(2)
            )
            found.append((first, second))
            print(f"pair {number + 1} of {pairs}: {_twice(first, second, ENGINE)}", flush=True)
    return found


def judged(found: list[Pair]) -> dict[str, Any]:
    """How many pairs agree, for each contestant and for the comparison between them."""
    contestants = {}
    for name in (LOOP, ENGINE):
        twice = [_twice(first, second, name) for first, second in found]
        contestants[name] = {
            "agreed": sum(c.verdict == "no difference" for c in twice),
            "ratios": [c.speedup.as_json() for c in twice],
        }
    verdicts = [tuple(compare_all(run, LOOP)[0] for run in pair) for pair in found]
    same = [
        a.speedup.low <= b.speedup.high and b.speedup.low <= a.speedup.high for a, b in verdicts
    ]
    return {
        "pairs": len(found),
        "contestants": contestants,
        "speedup_over_loop": {
            "agreed": sum(same),
            "ratios": [[c.speedup.as_json() for c in pair] for pair in verdicts],
        },
    }


def _twice(first: BenchmarkRun, second: BenchmarkRun, name: str) -> Comparison:
    return compare(second.only(name), first.only(name))


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.repeatability", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=16, help="of each benchmark")
    parser.add_argument("--images", type=int, default=16, help="in a round")
    given = parser.parse_args(arguments)
    images = [scene(_FIRST_SEED + number)[0] for number in range(given.images)]
    started = time.monotonic()
    found = measure(sample_detector(), images, given.pairs, given.rounds)
    facts = judged(found)
    counts = {**{n: f["agreed"] for n, f in facts["contestants"].items()}}
    counts["speed-up over the loop"] = facts["speedup_over_loop"]["agreed"]
    rows = [
        (name, f"{count} of {given.pairs}", "yes" if count >= GOAL * given.pairs else "no")
        for name, count in counts.items()
    ]
    print_table("the same benchmark twice", ("what", "agrees", "19 of 20"), rows)
    size = {"rounds": given.rounds, "images": given.images}
    seconds = round(time.monotonic() - started, 1)
    path = write_results("repeatability", {**size, "seconds": seconds, **facts})
    print(f"\nwritten to {path.name}")


if __name__ == "__main__":
    main()
