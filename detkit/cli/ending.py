"""How a command ends that cannot go on: one line on standard error and an exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import typer

from detkit.terminal import console, plain_lines


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the command with one line for an error that detkit foresees.

    Raises:
        typer.Exit: In place of `DetkitError`.
    """
    from detkit.errors import DetkitError

    try:
        yield
    except DetkitError as error:
        fail(str(error))


def fail(message: str, code: int = 1) -> NoReturn:
    """Say on standard error what is wrong, and end the command.

    Raises:
        typer.Exit: Always.
    """
    console(stderr=True).print(f"[red]detkit:[/] {plain_lines(message)}", soft_wrap=True)
    raise typer.Exit(code)
