"""`detkit demo`: every way of detecting on this machine, offline."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from detkit.cli.ending import errors_in_one_line
from detkit.terminal import console, show_demo


def command(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detkit-demo"),
) -> None:
    """Try every way of detecting on this machine, with a model that comes with detkit."""
    from detkit.demo import run_demo

    screen = console()
    with screen.status("starting") as status, errors_in_one_line():
        report = asyncio.run(run_demo(out, say=lambda line: status.update(line)))
    show_demo(screen, report)
    if not report.is_good:
        raise typer.Exit(1)
