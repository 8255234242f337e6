from __future__ import annotations

import pytest
from widgets.needs_browser import may_skip


@pytest.mark.parametrize(
    ("lacking", "ci", "skips"),
    [
        ([], "", False),
        (["a Chromium"], "", True),
        (["a Chromium"], "false", True),
        (["a Chromium"], "true", False),
        (["playwright"], "1", False),
    ],
)
def test_a_machine_of_ci_fails_without_a_browser(
    monkeypatch: pytest.MonkeyPatch, lacking: list[str], ci: str, skips: bool
) -> None:
    monkeypatch.setenv("CI", ci)
    assert may_skip(lacking) is skips
