from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit.errors import SourceError
from detkit.widgets.inbox import Inbox, Limits, Part, Upload

SMALL = Limits(max_files=3, max_file_bytes=10, max_total_bytes=20, part_bytes=4)


def offered(*sizes: object, inbox: Inbox | None = None) -> tuple[Inbox, list[str]]:
    inbox = inbox or Inbox(SMALL)
    files = [{"name": f"{n}.png", "size": size} for n, size in enumerate(sizes)]
    return inbox, inbox.offer(files, 0, 0)


def test_a_file_comes_in_pieces_that_were_asked_for() -> None:
    inbox, problems = offered(6)
    assert problems == []
    assert inbox.wanted == Part(0, 0, 4)
    assert inbox.receive(0, 0, b"abcd") is None
    assert inbox.wanted == Part(0, 4, 2)
    assert inbox.receive(0, 4, b"ef") == Upload("0.png", b"abcdef")
    assert inbox.wanted is None


@pytest.mark.parametrize(
    ("sizes", "accepted", "reason"),
    [
        ((11,), [], "more than the"),
        ((0,), [], "the file is empty"),
        ((-1,), [], "the file is empty"),
        (("9",), [], "the file is empty"),
        ((1, 11, 1), [0, 2], "more than the"),
        ((9, 9, 9), [0, 1], "all files together"),
        ((1, 1, 1, 1), [0, 1, 2], "3 pictures are the most"),
    ],
)
def test_limits(sizes: tuple[object, ...], accepted: list[int], reason: str) -> None:
    inbox, problems = offered(*sizes)
    assert len(problems) == len(sizes) - len(accepted)
    assert reason in problems[0]
    taken = []
    while (part := inbox.wanted) is not None:
        if inbox.receive(part.file, part.offset, bytes(part.size)) is not None:
            taken.append(part.file)
    assert taken == accepted


def test_what_is_held_already_counts() -> None:
    inbox = Inbox(SMALL)
    assert "at one time" in inbox.offer([{"name": "a", "size": 1}], 3, 3)[0]
    assert "all files together" in inbox.offer([{"name": "a", "size": 2}], 1, 19)[0]


@pytest.mark.parametrize("offer", [None, "files", {"name": "a"}, [{}] * 20_000])
def test_nonsense_is_no_offer(offer: object) -> None:
    with pytest.raises(SourceError):
        Inbox(SMALL).offer(offer, 0, 0)


def test_names_are_only_text() -> None:
    inbox = Inbox(SMALL)
    files = [
        {"name": "a\nb\0c.png", "size": 1},
        {"name": "x" * 999 + ".png", "size": 1},
        {"size": 1},
    ]
    assert inbox.offer(files, 0, 0) == []
    names = [inbox.receive(n, 0, b"x").name for n in range(3)]  # type: ignore[union-attr]
    assert names[0] == "a b c.png" and len(names[1]) == 80 and names[2] == "picture"


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 12), st.binary(max_size=12))))
def test_a_page_can_never_fill_more_than_the_limits(
    pieces: list[tuple[int, int, bytes]],
) -> None:
    inbox, _ = offered(10, 10, 10)
    held = 0
    for file, offset, data in pieces:
        try:
            upload = inbox.receive(file, offset, data)
        except SourceError:
            assert inbox.wanted is None
            continue
        assert len(inbox._data) < SMALL.max_file_bytes
        held += 0 if upload is None else len(upload.data)
    assert held <= SMALL.max_total_bytes
