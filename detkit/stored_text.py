"""Text from file names and models, as tables and files can hold it. Knows text."""

from __future__ import annotations

# Spreadsheets run a cell that begins so as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def storable(text: str) -> str:
    r"""`text` as UTF-8 can hold it: a file name's bytes that are none become like `\udcff`.

    Example:
        >>> storable("caf\udce9.jpg")
        'caf\\udce9.jpg'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cell(text: str) -> str:
    """`storable` text in which a spreadsheet finds no formula: an apostrophe stands before one.

    Example:
        >>> cell("=1+1.jpg"), cell("a=1.jpg")
        ("'=1+1.jpg", 'a=1.jpg')
    """
    text = storable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
