"""`detkit doctor`: what this machine can do, as a table."""

from __future__ import annotations

import typer

from detkit.terminal import console, plain


def command() -> None:
    """Show versions, devices, runtimes and what is switched off."""
    from rich.table import Table

    from detkit.doctor import examine

    screen = console()
    with screen.status("looking"):
        findings = examine()
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
