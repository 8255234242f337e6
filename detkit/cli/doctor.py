"""`detkit doctor`: what this machine can do, as a table."""

from __future__ import annotations

from typing import Annotated

import typer

from detkit.cli.ending import fail
from detkit.terminal import console, plain


def command(
    clear_cache: Annotated[
        bool, typer.Option("--clear-cache", help="Remove converted models and do nothing else.")
    ] = False,
) -> None:
    """Show versions, devices, runtimes, the model cache and what is switched off."""
    from rich.table import Table

    from detkit import doctor

    screen = console()
    if clear_cache:
        try:
            screen.print(plain(doctor.clear_cache()), soft_wrap=True)
        except OSError as error:
            fail(f"the cache cannot be cleared: {error}")
        return
    with screen.status("looking"):
        findings = doctor.examine()
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "", "detail"):
        table.add_column(heading, overflow="fold")
    colors = {"ok": "green", "off": "dim", "missing": "red", "broken": "red"}
    topic = ""
    for finding in findings:
        shown = finding.topic if finding.topic != topic else ""
        topic = finding.topic
        verdict = f"[{colors[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(shown, plain(finding.name), verdict, plain(finding.detail))
    screen.print(table)
    if any(finding.verdict in ("missing", "broken") for finding in findings):
        raise typer.Exit(1)
