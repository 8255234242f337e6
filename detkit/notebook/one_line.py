"""Text from data on one line, as long as there is room: for titles, legends and tables.

Knows text only.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, with what no font can draw replaced."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shortened(text: str, max_chars: int) -> str:
    """`text` with its middle left out where it is too long: both ends of a path say something."""
    text = printable(text)
    if len(text) <= max_chars:
        return text
    tail = max(1, (max_chars - 1) * 2 // 3)
    return f"{text[: max(0, max_chars - 1 - tail)]}…{text[-tail:]}"
