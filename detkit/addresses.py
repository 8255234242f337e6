"""Addresses as they may be shown: without what can be secret in them. Knows text."""

from __future__ import annotations

import re

# One slash is enough: pathlib drops the second. Two letters, as C:/ is a drive. At most forty, or a
# name of 100,000 letters takes minutes; of a longer scheme the end is found, which serves as well.
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,40}:/", re.IGNORECASE)

_END_OF_HOST = re.compile(r"[/\\?#]")


def is_url(text: str) -> bool:
    """Whether a text begins as an address and not as the path of a file."""
    return _URL.match(text) is not None


def without_credentials(text: str) -> str:
    """`text`, less user, password, query and fragment if it holds a URL: each can be secret.

    Example:
        >>> without_credentials("rtsp://admin:pw@10.0.0.7/door?token=1")
        'rtsp://***@10.0.0.7/door?...'
    """
    found = _URL.search(text)
    if found is None:
        return text
    scheme, address = text[: found.end()], text[found.end() :].removeprefix("/")
    host = _END_OF_HOST.split(address, maxsplit=1)[0]
    path = address[len(host) :]
    if "@" in path:  # Perhaps of a password with a slash: where the host begins, nobody knows.
        return f"{scheme}/***"
    _, at, host = host.rpartition("@")
    path = re.sub(r"[?#].*", "?...", path, count=1, flags=re.DOTALL)
    return f"{scheme}/{'***@' if at else ''}{host}{path}"
