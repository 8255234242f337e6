"""Tables and pictures of the committed results: `python -m benchmarks.report [--check]`.

Reads `benchmarks/results/`, writes `benchmarks/RESULTS.md` and one SVG for each comparison, and
fills the block between the two marker lines of `README.md` where it has one. Writes the same bytes
from the same results, so `--check` can tell that nobody forgot.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks import repeatability
from benchmarks.contestants import SCENARIOS
from benchmarks.headline import full_table, promises, short_table
from benchmarks.preview_section import preview_section
from benchmarks.video_report import video_section
from detkit.benchmark import BenchmarkRun
from detkit.benchmark.tables import Table, remarks, run_table
from detkit.notebook.benchmark_report import plot_comparison

ROOT = Path(__file__).resolve().parent
README = ROOT.parent / "README.md"
BEGIN = "<!-- benchmarks: made by `python -m benchmarks.report`, do not edit -->"
END = "<!-- /benchmarks -->"
TITLES = {
    "arrays": "Images in memory",
    "folder": "A folder of JPEG files",
    "video": "A clip of 1280 x 720",
}
HEAD = """# Results

Made by `python -m benchmarks.report` from `results/`, which `python -m benchmarks.everything`
measures.

## What was promised

Each promise of the specification with everything here that bears on it. Numbers marked as simulated
are of detectors that only wait: they show what the engine does, not what a device does.
"""
COMPARISON = """## Beside other ways to do the same

Contestants took turns, each in a process of its own, after all had found the same objects: F1 of
at least 0.95 beside the first, counting boxes of the same class that overlap by 0.9. The interval
after a throughput is 95 %, the one after a ratio 99 %; "no difference" means that the latter
holds 1, "undecided" that there were fewer than eight rounds.
"""


def load_results(folder: Path) -> dict[str, BenchmarkRun]:
    """The runs there are by name: a scenario, and the model where it is not the embedded one."""
    found = {}
    for scenario in SCENARIOS:
        for path in sorted(folder.glob(f"comparison_{scenario}*.json")):
            found[path.stem.removeprefix("comparison_")] = BenchmarkRun.load(path)
    return found


def title_of(name: str) -> str:
    """What stands above a comparison."""
    scenario, _, model = name.partition("_")
    return f"{TITLES[scenario]}, {model}" if model else TITLES[scenario]


def generated_files(folder: Path, readme: Path) -> dict[Path, str]:
    """Everything that the results decide, by path."""
    runs = load_results(folder)
    answers = promises(folder, runs)
    page = f"{HEAD}\n{_prose(full_table(answers))}\n\n{_runtimes(folder)}{_comparisons(runs)}"
    for section in (repeatability.page, video_section, preview_section):
        text = section(folder)
        page += f"\n{text.strip()}\n" if text else ""
    files = {folder.parent / "RESULTS.md": page}
    for name, run in runs.items():
        if any(entry.has_numbers for entry in run):
            files[folder / f"comparison_{name}.svg"] = _svg(run)
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        block = f"{_prose(short_table(answers))}\n\n{_readme_block(runs)}"
        files[readme] = f"{before}{BEGIN}\n{block}{END}{rest.split(END, 1)[1]}"
    return files


def out_of_date(files: dict[Path, str]) -> list[Path]:
    """Those whose content on disk is another."""
    return [
        path
        for path, text in files.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or with `--check` only look; 1 if something is out of date."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(arguments)
    files = generated_files(ROOT / "results", README)
    stale = out_of_date(files)
    for path in stale:
        print(f"{'out of date' if given.check else 'written'}: {path.relative_to(ROOT.parent)}")
        if not given.check:
            path.write_text(files[path], encoding="utf-8")
    return int(given.check and bool(stale))


def _prose(table: Table) -> str:
    """Sentences stand to the left."""
    return table.to_markdown().replace("---:", "---")


def _runtimes(folder: Path) -> str:
    """What `runtime_benchmark.py` measured, one table for each precision."""
    parts = []
    for path in sorted(folder.glob("runtime_benchmark*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        over = facts["detkit_over"]
        rows = tuple(
            (
                name,
                f"{one['per_second']:.1f}",
                f"{one['core_ms_per_image']:.1f}",
                f"{over[name]:.2f}x",
            )
            for name, one in facts["contestants"].items()
        )
        header = ("way", "images/s", "core-ms per image", "detkit is")
        table = Table("Runtimes", header, rows).to_markdown()
        parts.append(f"### {facts['detector']}\n\nmeasured {facts['machine']['date']}\n\n{table}\n")
    return f"## Beside the runtime alone\n\n{chr(10).join(parts)}\n" if parts else ""


def _comparisons(runs: dict[str, BenchmarkRun]) -> str:
    parts = [COMPARISON]
    if not runs:
        parts.append("There are no results yet.\n")
    for name, run in runs.items():
        lines = "\n".join(f"- {line}" for line in [f"measured {run.date}", *remarks(run)])
        picture = f"![{title_of(name)}](results/comparison_{name}.svg)\n"
        table = _short(run).to_markdown()
        parts.append(f"### {title_of(name)}\n\n{table}\n\n{picture}\n{lines}\n")
    return "\n".join(parts)


def _readme_block(runs: dict[str, BenchmarkRun]) -> str:
    if not runs:
        return ""
    parts = [f"**{title_of(name)}**\n\n{_brief(run).to_markdown()}\n" for name, run in runs.items()]
    first = next(iter(runs.values()))
    details = "Conditions, cost and memory: [benchmarks/RESULTS.md](benchmarks/RESULTS.md)."
    parts.append(f"{first.machine}, {first.date}. {details}\n")
    return "\n".join(parts)


def _brief(run: BenchmarkRun) -> Table:
    """Throughput, and how it stands to the first."""
    table = run_table(run)

    def chosen(cells: Sequence[str]) -> tuple[str, ...]:
        return cells[0], cells[1], cells[-1]

    return Table(table.title, chosen(table.header), tuple(chosen(row) for row in table.rows))


def _short(run: BenchmarkRun) -> Table:
    """The table without the columns that a round of one call cannot fill."""
    table = run_table(run)
    keep = [i for i, name in enumerate(table.header) if not name.startswith("p")]
    keep += [i for i, name in enumerate(table.header) if name.startswith("peak")]
    keep.sort()

    def chosen(cells: Sequence[str]) -> tuple[str, ...]:
        return tuple(cells[i] for i in keep)

    return Table(table.title, chosen(table.header), tuple(chosen(row) for row in table.rows))


def _svg(run: BenchmarkRun) -> str:
    file = io.StringIO()
    # Without these, ids and the date differ with every run.
    with mpl.rc_context({"svg.hashsalt": "detkit", "svg.fonttype": "path"}):
        plot_comparison(run).savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
