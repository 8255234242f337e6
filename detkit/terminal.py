"""What the `detkit` command shows: progress, tables and text from data made safe to print.

Knows rich and the reports of jobs; starts nothing and decides no exit code.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from detkit.benchmark.tables import Table
    from detkit.demo import DemoReport
    from detkit.pipeline import FolderReport

_MAX_LISTED = 20  # of classes, and of failures: a night's work may have thousands


def console(*, stderr: bool = False) -> Console:
    """A console without colours for numbers and paths."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


@contextlib.contextmanager
def progress(screen: Console, total: int | None) -> Iterator[Any]:
    """A bar with rate and, where the total is known, time left; yields what moves it on."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    started = time.perf_counter()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:5.1f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=total, rate=0.0)
        done = 0

        def advance(source: str, num_pictures: int) -> None:
            nonlocal done
            done += num_pictures
            rate = done / (time.perf_counter() - started)
            name = plain(Path(source).name[:40])
            most = None if total is None else max(total, done)
            bar.update(task, completed=done, total=most, rate=rate, description=name)

        yield advance


def show_demo(screen: Console, report: DemoReport) -> None:
    """Print what `run_demo` found."""
    from rich.table import Table

    screen.print(f"[bold]{plain(report.detector)}[/]")
    found = Table("class", "found", "truth", box=None, pad_edge=False)
    for name, num in report.truth.items():
        found.add_row(plain(name), str(report.found.get(name, 0)), str(num))
    screen.print(found)
    speed = Table("way", "images", "images/s", "beside the loop", box=None, pad_edge=False)
    loop = report.ways[0].images_per_s
    for way in report.ways:
        ratio = f"{way.images_per_s / loop:.2f} ×" if loop else ""
        speed.add_row(way.name, str(way.num_images), f"{way.images_per_s:.1f}", ratio)
    screen.print()
    screen.print(speed)
    images, clip = report.images_score, report.clip_score
    screen.print(
        f"\nAgainst the truth: F1 {images.f1:.3f} in images (mean IoU {images.mean_iou:.3f}), "
        f"{clip.f1:.3f} in the clip."
    )
    if not report.all_ways_agree:
        screen.print("[red]The ways did not find the same boxes.[/]")
    verdict = "[green]All is well.[/]" if report.is_good else "[red]Something is wrong here.[/]"
    files = "detections.csv, grid.png, annotated.mp4, summary.json"
    screen.print(f"{verdict} Look at {files} in {plain(str(report.folder))}.")


def show_table(screen: Console, table: Table) -> None:
    """Print a table of text. A narrow terminal breaks its lines; rich would break every cell."""
    title, header, *rest = table.to_text().splitlines()
    screen.print(f"[bold]{plain(title)}[/]", soft_wrap=True)
    screen.print(f"[dim]{plain(header)}[/]", soft_wrap=True)
    for line in rest:
        screen.print(plain(line), soft_wrap=True)


def show_report(screen: Console, report: FolderReport) -> None:
    """Print what `detect_to_folder` did; failures go to standard error."""
    from rich.table import Table

    if report.detections_by_class:
        table = Table("class", "found", box=None, pad_edge=False)
        for name, num in report.detections_by_class.most_common(_MAX_LISTED):
            table.add_row(plain(name), str(num))
        screen.print(table)
    elif report.num_pictures:  # otherwise nobody looked
        screen.print("Nothing was found.")
    before = f"{report.num_before} more were done before; " if report.num_before else ""
    screen.print(
        f"{report.num_pictures - report.num_before} images and frames in {report.elapsed_s:.1f} s "
        f"({report.per_second:.1f}/s), {before}written to {plain(str(report.folder))}",
        soft_wrap=True,
    )
    if report.failed:
        errors = console(stderr=True)
        errors.print(f"[red]{len(report.failed)} of {len(report.outcomes)} inputs failed:[/]")
        for outcome in report.failed[:_MAX_LISTED]:
            reason = outcome.error or outcome.status
            line = reason if repr(outcome.source) in reason else f"{outcome.source}: {reason}"
            errors.print(f"  {plain(line)}", soft_wrap=True)
        if len(report.failed) > _MAX_LISTED:
            errors.print(f"  and {len(report.failed) - _MAX_LISTED} more, all in images.csv")


def plain(text: str) -> str:
    """Text from data: no markup of rich, no control sequences of terminals."""
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "�" for c in text))


def plain_lines(text: str) -> str:
    """`plain`, with the line breaks kept."""
    return "\n".join(plain(line) for line in text.splitlines())
