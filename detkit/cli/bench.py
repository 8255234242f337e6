"""`detkit bench`: how fast a detector is on these images and this machine, in a scenario."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from detkit.cli import models
from detkit.cli.measuring import JsonOption, SourcesArgument, end, measuring, show
from detkit.terminal import plain


class ScenarioName(str, Enum):
    """The scenarios of `detkit.benchmark`, named as MLPerf does."""

    offline = "offline"
    single_stream = "single_stream"
    multi_stream = "multi_stream"
    server = "server"
    video = "video"


def command(
    sources: SourcesArgument = None,
    model: models.ModelOption = models.DEFAULT_MODEL,
    device: models.DeviceOption = "cpu",
    scenario: Annotated[
        ScenarioName, typer.Option(help="How the images arrive.")
    ] = ScenarioName.offline,
    rate: Annotated[
        float | None,
        typer.Option(help="Arrivals per second of 'server', frames per second of 'video'."),
    ] = None,
    streams: Annotated[
        int | None, typer.Option(help="Images that 'multi_stream' asks for together.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers of the AsyncDetector.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, help="Its largest batch.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to count.")] = 10,
    seconds: Annotated[float, typer.Option(min=0.0, help="Stop after so many seconds.")] = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Measure a model in a plain loop and in an AsyncDetector, in turns."""
    from detkit.benchmark.commands import bench

    with measuring(sources, as_json=as_json) as (screen, paths):
        meets = _scenario(scenario, rate, streams)
        with screen.status(f"loading {plain(model)}"):
            detector = models.load(model, device)
        screen.print(plain(repr(detector)), soft_wrap=True)
        with screen.status(f"measuring, at most {seconds:g} s"):
            output = bench(
                detector,
                paths,
                meets,
                max_workers=workers,
                batch_size=batch_size,
                rounds=rounds,
                max_seconds=seconds,
            )
        show(screen, output, as_json=as_json)
    end(output)


def _scenario(name: ScenarioName, rate: float | None, streams: int | None) -> Any:
    """The scenario with its own number.

    Raises:
        ValueError: If a number is out of range, or of another scenario.
    """
    from detkit.benchmark import scenario

    options: dict[str, Any] = {}
    for option, value, own in (
        ("rate", rate, {"server": "rate_per_s", "video": "fps"}),
        ("streams", streams, {"multi_stream": "num_streams"}),
    ):
        if value is None:
            continue
        if name.value not in own:
            raise ValueError(f"--{option} has no meaning in the scenario {name.value!r}")
        options[own[name.value]] = value
    return scenario(name.value, **options)
