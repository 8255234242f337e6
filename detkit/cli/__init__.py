"""The `detkit` command: one file for each of its commands, put together here.

Owns the list of commands. Each command reads its arguments, shows progress and decides the exit
code; every job is done elsewhere and imported when it is asked for.
"""

from __future__ import annotations

from typing import Annotated

import typer

from detkit.cli import bench, demo, detect, doctor, tune, video
from detkit.cli.ending import fail

app = typer.Typer(
    name="detkit",
    help="Find objects in images and videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if show_version:
        from detkit import __version__

        typer.echo(__version__)
        raise typer.Exit


app.command("demo")(demo.command)
app.command("detect")(detect.command)
app.command("video")(video.command)
app.command("bench")(bench.command)
app.command("tune")(tune.command)
app.command("doctor")(doctor.command)


def main() -> None:
    """Run the command; errors that detkit foresees end it with one line and exit code 1."""
    from detkit.errors import DetkitError

    try:
        app()
    except DetkitError as error:
        fail(str(error))
