"""`ReadAhead`: bounded, ordered, and over in no time however it is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from detkit.video import ReadAhead


class Source:
    """Counts, and can be told to wait, to fail, or asked whether it was closed."""

    def __init__(self, stop: int = 10, fail_at: int | None = None) -> None:
        self.produced = 0
        self.stop = stop
        self.fail_at = fail_at
        self.closed = threading.Event()
        self.reached = threading.Condition()

    def __iter__(self) -> Iterator[int]:
        try:
            for number in range(self.stop):
                if number == self.fail_at:
                    raise OSError("cable pulled")
                with self.reached:
                    self.produced += 1
                    self.reached.notify_all()
                yield number
        finally:
            self.closed.set()

    def wait_for(self, number: int) -> None:
        with self.reached:
            assert self.reached.wait_for(lambda: self.produced >= number, 10)


def test_everything_in_order() -> None:
    with ReadAhead(iter(Source(100)), 3) as ahead:
        assert list(ahead) == list(range(100))
        assert list(ahead) == []


def test_everything_in_order_async() -> None:
    async def read() -> list[int]:
        ahead = ReadAhead(iter(Source(100)), 3)
        try:
            return [number async for number in ahead]
        finally:
            await ahead.aclose()

    assert asyncio.run(read()) == list(range(100))


def test_it_reads_no_further_than_allowed() -> None:
    source = Source(100)
    with ReadAhead(iter(source), 3) as ahead:
        source.wait_for(4)  # three wait, one is in hand
        assert next(ahead) == 0
        source.wait_for(5)
        assert source.produced == 5
    assert source.closed.wait(10)


@pytest.mark.parametrize("close_async", [False, True])
def test_closing_frees_a_reader_that_waits_for_room(close_async: bool) -> None:
    source = Source(100)
    ahead = ReadAhead(iter(source), 2)
    source.wait_for(3)

    async def close() -> None:
        await ahead.aclose()
        await ahead.aclose()

    if close_async:
        asyncio.run(close())
    else:
        ahead.close()
        ahead.close()
    assert source.closed.wait(10)
    assert list(ahead) == []


def test_an_error_comes_after_what_was_read_before_it() -> None:
    got = []
    with pytest.raises(OSError, match="cable pulled"), ReadAhead(iter(Source(9, 3))) as ahead:
        for number in ahead:
            got.append(number)  # noqa: PERF402  the error comes in the middle
    assert got == [0, 1, 2]


def test_latest_forgets_the_oldest_and_counts() -> None:
    source = Source(50)
    with ReadAhead(iter(source), 1, keep="latest") as ahead:
        source.wait_for(50)
        assert source.closed.wait(10)
        assert list(ahead) == [49]
        assert ahead.num_skipped == 49


def test_a_consumer_that_waits_is_woken_by_close() -> None:
    gate = threading.Event()

    def stuck() -> Iterator[int]:
        yield 1
        gate.wait(10)

    ahead = ReadAhead(stuck())
    assert next(ahead) == 1
    closer = threading.Timer(0.01, ahead.close)
    closer.start()
    assert list(ahead) == []
    gate.set()
    closer.join()


def test_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ReadAhead(iter(()), 0)
