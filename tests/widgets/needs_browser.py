"""Which tests need a real browser: skipped only where there is none, and never in CI."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
from widgets.jupyter_page import find_browser


def missing() -> list[str]:
    """What this machine lacks for them, in words."""
    packages = (name for name in ("jupyterlab", "playwright") if find_spec(name) is None)
    return [*([] if find_browser() else ["a Chromium"]), *packages]


def may_skip(lacking: list[str]) -> bool:
    """In CI a machine without a browser fails instead."""
    return bool(lacking) and os.environ.get("CI", "").lower() not in ("true", "1")


needs_browser = [
    pytest.mark.skipif(
        may_skip(missing()), reason=f"there is no {' and no '.join(missing())} on this machine"
    )
]
