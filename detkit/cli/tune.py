"""`detkit tune`: the setting that is best on these images and this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from detkit.cli import models
from detkit.cli.measuring import JsonOption, SourcesArgument, end, measuring, show
from detkit.terminal import plain


def command(
    sources: SourcesArgument = None,
    model: models.ModelOption = models.DEFAULT_MODEL,
    device: models.DeviceOption = "cpu",
    goal: Annotated[
        str, typer.Option(help="throughput, latency, or like 'fps>=30'.")
    ] = "throughput",
    seconds: Annotated[float, typer.Option(help="How long to search.")] = 20.0,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Search anew, and keep no answer.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the workers, batch size, library and precision that suit a model on this machine."""
    from detkit.benchmark.commands import tune_settings

    with measuring(sources, as_json=as_json) as (screen, paths):
        with screen.status(f"loading {plain(model)}"):
            detector = models.load(model, device)
        screen.print(plain(repr(detector)), soft_wrap=True)
        with screen.status(f"measuring for {seconds:g} s"):
            output = tune_settings(
                detector, paths, seconds=seconds, goal=goal, use_cache=not no_cache
            )
        show(screen, output, as_json=as_json)
    end(output)
