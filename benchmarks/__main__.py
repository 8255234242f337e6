"""The comparison with other ways to do the same: `python -m benchmarks [--full]`.

Verifies that all contestants find the same objects, measures them in turns, each in a process of
its own, and writes `benchmarks/results/comparison_<scenario>.json`; with `--model`, its name is
added to that of the file. `python -m benchmarks.report` makes tables and pictures of these files.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.contestants import SCENARIOS
from benchmarks.measurement import RESULTS
from benchmarks.suite import FULL, QUICK, compare_contestants, prepared, shares
from detkit.benchmark.tables import remarks, run_table


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="up to 40 minutes instead of 5")
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="one scenario")
    parser.add_argument("--model", type=Path, help="a .pt file in place of the sample model")
    parser.add_argument("--images", type=int, help="images in a round")
    parser.add_argument("--rounds", type=int, help="rounds to count")
    parser.add_argument("--seconds", type=float, help="for all scenarios together")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    given = parser.parse_args(arguments)

    size = FULL if given.full else QUICK
    turns = replace(size.turns, rounds=given.rounds or size.turns.rounds)
    size = replace(
        size,
        num_images=given.images or size.num_images,
        turns=turns,
        seconds=given.seconds or size.seconds,
    )
    with prepared(size.num_images, given.model) as setup:
        scenarios = given.only or SCENARIOS
        for scenario, seconds in shares(scenarios, size.seconds).items():
            run = compare_contestants(scenario, setup, size, print, seconds)
            of_model = f"_{given.model.stem}" if given.model else ""
            run.save(given.out / f"comparison_{scenario}{of_model}.json")
            print(f"\n{run_table(run).to_text()}")
            print("\n".join(f"  {line}" for line in remarks(run)), "\n", flush=True)


if __name__ == "__main__":
    main()
