"""Whether `tune` finds in seconds what a full sweep finds: on the embedded model.

    python benchmarks/tuner_benchmark.py [--seconds 20] [--rounds 3]

Tunes, measures every setting of the same space in turns, and lets the five that the sweep found
fastest, the setting that was chosen and a plain one take turns again: whoever is first of a
hundred is first by luck as well. Writes `benchmarks/results/tuner_benchmark.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measurement import print_table, write_results
from detkit import AsyncDetector
from detkit.benchmark import Instruments, TuneReport, tune
from detkit.benchmark.choices import BATCH_SIZES, Choice, Goal, Space, default_workers
from detkit.benchmark.intervals import Interval, median_interval, ratio_interval
from detkit.benchmark.machine import usable_cores
from detkit.benchmark.trials import Trials, ways_to_load
from detkit.benchmark.tune_report import choice_json
from detkit.detection.abstract import AbstractDetector
from detkit.images import RGBImage
from detkit.samples import sample_detector, scene

NUM_FINALISTS = 5
FINAL_ROUNDS = 15
PLAIN = Choice(1, 1)
Rates = dict[Choice, list[float]]


def take_turns(trials: Trials, choices: list[Choice], rounds: int, num_images: int) -> Rates:
    """Images per second of every choice in every round."""
    rates: Rates = {choice: [] for choice in choices}
    for number in range(rounds):
        for choice in choices[:: -1 if number % 2 else 1]:
            # Every worker is to get its share of full batches.
            waves = -(-num_images // choice.in_flight)
            rates[choice].append(trials.measure(choice, waves * choice.in_flight).images_per_s)
    return rates


def verify(detector: AbstractDetector, space: Space, images: list[RGBImage]) -> None:
    """Refuse to compare ways to load that do not find the same objects.

    Raises:
        SystemExit: If a way finds another number of boxes in more than one image of ten.
    """
    truth = [len(detector.detect(image)) for image in images]
    for variant in space.variants[1:]:
        other = detector.reload(**dict(variant))  # type: ignore[attr-defined]
        wrong = sum(len(other.detect(i)) != t for i, t in zip(images, truth, strict=True))
        other.close()
        if wrong > len(images) / 10:
            raise SystemExit(f"{variant} finds other objects in {wrong} images: not timed")


def sweep(
    detector: AbstractDetector, images: list[RGBImage], report: TuneReport, rounds: int
) -> dict[str, Any]:
    """Everything that could have been chosen, and the final between the fastest."""
    cores = usable_cores()
    make, variants = ways_to_load(detector, cores)
    space = Space(default_workers(cores), BATCH_SIZES, variants)
    verify(detector, space, images)
    started = time.perf_counter()
    with (
        AsyncDetector(detector) as engine,
        Trials(engine, images, Goal("throughput"), make, 1, Instruments()) as trials,
    ):
        rates = take_turns(trials, space.all(), rounds, len(images))
        seconds = time.perf_counter() - started
        ranked = sorted(rates, key=lambda choice: float(np.median(rates[choice])), reverse=True)
        finalists = list(dict.fromkeys([*ranked[:NUM_FINALISTS], report.best, PLAIN]))
        # The same work for all: in a short run, how it ends weighs more than how it goes.
        most = max(choice.in_flight for choice in finalists)
        final = take_turns(trials, finalists, FINAL_ROUNDS, most)
    best = max(final, key=lambda choice: float(np.median(final[choice])))
    rng = np.random.default_rng(0)
    chosen_over_best = Interval(1.0, 1.0, 1.0)
    if best != report.best:
        chosen_over_best = ratio_interval(final[report.best], final[best], rng, paired=True)
    return {
        "num_settings": len(space),
        "seconds": round(seconds, 1),
        "best": choice_json(best),
        "chosen_over_best": chosen_over_best.as_json(),
        "final": [
            {**choice_json(choice), "images_per_s": median_interval(of_one, rng).as_json()}
            for choice, of_one in final.items()
        ],
        "sweep": [
            {**choice_json(choice), "images_per_s": round(float(np.median(rates[choice])), 2)}
            for choice in ranked
        ],
    }


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="what the tuner is given")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the full sweep")
    given = parser.parse_args()
    images = [scene(seed)[0] for seed in range(94_000, 94_016)]
    detector = sample_detector()
    with AsyncDetector(detector) as engine:
        report = tune(engine, images, seconds=given.seconds, use_cache=False)
    print(report.advice, *report.notes, sep="\n")
    found = sweep(detector, images, report, given.rounds)
    rows = [
        (
            Choice(f["max_workers"], f["batch_size"], tuple(f["variant"].items())),
            f["images_per_s"][0],
        )
        for f in found["final"]
    ]
    print_table(
        f"{found['num_settings']} settings in {found['seconds']} s; the final between the fastest",
        ("setting", "images/s"),
        rows,
    )
    value, low, high = found["chosen_over_best"]
    print(f"\nchosen by tune over best of the sweep: {value:.3f} [{low:.3f}, {high:.3f}]")
    path = write_results("tuner_benchmark", {"report": report.as_json(), "sweep": found})
    print(f"written to {path.name}")


if __name__ == "__main__":
    main()
