"""What `detkit bench` and `detkit tune` share: the images they are given, and what they show."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detkit.cli.ending import errors_in_one_line, fail
from detkit.terminal import console, plain, show_table

if TYPE_CHECKING:
    from rich.console import Console

    from detkit.benchmark.commands import CommandOutput

# As many as fit into the memory of a small machine, and more than any setting works on at once.
MAX_IMAGES = 64
_NUM_RENDERED = 16

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Images, folders or patterns like 'a/**/*.jpg'; without any, rendered scenes."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output and nothing else.")
]


def samples(screen: Console, sources: Sequence[str]) -> list[Path]:
    """The readable images among what was named; what is not readable is told and left out.

    Raises:
        typer.Exit: If there is none.
        SourceError: If a folder or pattern holds no image.
    """
    from detkit.errors import ImageDecodeError
    from detkit.image_files import decode_image
    from detkit.pipeline.inputs import find_files

    good: list[Path] = []
    for path in (path for source in sources for path in find_files(source)):
        if len(good) == MAX_IMAGES:
            screen.print(f"measured with the first {MAX_IMAGES} images")
            break
        try:
            decode_image(path)
        except (ImageDecodeError, OSError) as error:
            screen.print(f"left out: {plain(str(error))}", soft_wrap=True)
            continue
        good.append(path)
    if not good:
        fail("there are no images to measure with")
    return good


@contextlib.contextmanager
def scenes() -> Iterator[list[Path]]:
    """Rendered scenes of 1280 x 720 as JPEG files, for who names no images."""
    from tempfile import TemporaryDirectory

    import cv2

    from detkit.samples import scene

    with TemporaryDirectory(prefix="detkit-") as folder:
        paths = []
        for seed in range(_NUM_RENDERED):
            path = Path(folder) / f"{seed:03}.jpg"
            cv2.imwrite(str(path), scene(seed)[0][..., ::-1])
            paths.append(path)
        yield paths


@contextlib.contextmanager
def measuring(
    sources: Sequence[str] | None, *, as_json: bool
) -> Iterator[tuple[Console, list[Path]]]:
    """The screen to speak to and the images; ends the command in one line where it cannot go on.

    With `as_json` everything that is for people goes to standard error.
    """
    screen = console(stderr=as_json)
    with contextlib.ExitStack() as stack, errors_in_one_line():
        if sources:
            paths = samples(screen, sources)
        else:
            paths = stack.enter_context(scenes())
            screen.print(f"no images named: {len(paths)} rendered scenes of 1280 x 720")
        try:
            yield screen, paths
        except ValueError as error:
            fail(str(error))
        except KeyboardInterrupt:
            fail("interrupted; nothing was decided", code=130)


def show(screen: Console, output: CommandOutput, *, as_json: bool) -> None:
    """Tables and sentences, or JSON.

    Raises:
        typer.Exit: If nothing can be written there: a full disk, say.
    """
    try:
        _show(screen, output, as_json=as_json)
    except BrokenPipeError:  # whoever read it has enough; typer ends the command
        raise
    except OSError as error:
        fail(f"what was measured cannot be written: {error.strerror or error}")


def _show(screen: Console, output: CommandOutput, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(output.facts, indent=1, allow_nan=False, default=str))
        return
    for table in output.tables:
        show_table(screen, table)
        screen.print()
    for line in output.lines:
        screen.print(plain(line), soft_wrap=True)


def end(output: CommandOutput) -> None:
    """The exit code: 130 after Ctrl-C, as a shell expects, 1 if nothing could be measured.

    Raises:
        typer.Exit: Unless all went well.
    """
    if output.was_interrupted:
        raise typer.Exit(130)
    if not output.has_numbers:
        raise typer.Exit(1)
