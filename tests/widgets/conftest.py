"""Every panel test has a fake browser, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import comm
import pytest
from widgets.fake_front import FakeComm, Front


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    front = Front()
    kind = type("FakeCommOfTest", (FakeComm,), {"front": front})
    monkeypatch.setattr(comm, "create_comm", lambda **arguments: kind(**arguments))
    yield front


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """A test closes its panels, and their threads end with them."""
    yield
    ours = ("detkit-screen", "detkit-player", "detkit-job")
    left = [t for t in threading.enumerate() if t.name in ours]
    for thread in left:
        thread.join(5)
    assert not [t for t in left if t.is_alive()]
