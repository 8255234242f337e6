"""`Progress`: one bar for one long call, as a widget in a notebook and as text elsewhere.

The only file that knows tqdm, which it imports when a bar is first wanted. A bar is touched by the
thread that waits for the call and by no other: workers print nothing. Knows no engine and no file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeVar

from detkit.errors import ItemFailure

T = TypeVar("T")


class Progress:
    """How many images are done, how many failed, how fast, and how long it will take.

    Args:
        total: Number of images; None where nobody knows.
        unit: What is counted; "seconds" for a call that takes as long as it was told to.
    """

    def __init__(self, total: int | None, unit: str = "images") -> None:
        self.num_done = self.num_failed = 0
        self._bar = _new_bar(total, unit)
        self._handle = _shown(self._bar)

    def set(self, num_done: int, num_failed: int) -> None:
        """Say how far it is; the bar is drawn at most ten times a second."""
        news, self.num_done = num_done - self.num_done, num_done
        if num_failed != self.num_failed:
            self.num_failed = num_failed
            self._bar.set_postfix_str(f"{num_failed} failed", refresh=False)
        self._bar.update(news)

    def add(self, *, failed: bool) -> None:
        """One image more."""
        self.set(self.num_done + 1, self.num_failed + failed)

    def expect(self, more: int) -> None:
        """There is more to do than it seemed."""
        self._bar.total += more

    def close(self) -> None:
        """Leave what the bar says last. May be called again.

        A widget becomes text: that is what a saved notebook can show, and nothing of it stays
        behind in the kernel however often a cell is run.
        """
        if self._handle is not None:
            text = self._bar.container.__repr__(pretty=True)
            self._handle.update({"text/plain": text}, raw=True)
            _close_widget(self._bar)
            self._handle = None
        self._bar.close()


class NoProgress:
    """Stands in for a `Progress` that nobody wants: says nothing."""

    def set(self, num_done: int, num_failed: int) -> None:
        """Like that of `Progress`, and so are the others."""

    def add(self, *, failed: bool) -> None:
        """One more."""

    def expect(self, more: int) -> None:
        """More to do."""

    def close(self) -> None:
        """The end."""


def shown_if(
    wanted: bool, total: int | None, unit: str = "images"
) -> closing[Progress | NoProgress]:
    """A bar for a `with` statement, or what stands in for it."""
    return closing(Progress(total, unit) if wanted else NoProgress())


def _is_failure(outcome: object) -> bool:
    return isinstance(outcome, ItemFailure)


def counted(
    outcomes: Iterator[T],
    total: int | None,
    is_failure: Callable[[T], bool] = _is_failure,
    unit: str = "images",
) -> Iterator[T]:
    """The same outcomes, counted by a bar that is there as long as they come.

    Args:
        outcomes: A generator; it is closed with this one.
        total: How many there will be, if that is known.
        is_failure: Which of them are failures.
        unit: What is counted.
    """
    with closing(outcomes), closing(Progress(total, unit)) as bar:  # type: ignore[type-var]
        for outcome in outcomes:
            bar.add(failed=is_failure(outcome))
            yield outcome


async def counted_async(
    outcomes: AsyncIterator[T],
    total: int | None,
    is_failure: Callable[[T], bool] = _is_failure,
    unit: str = "images",
) -> AsyncGenerator[T, None]:
    """`counted` for an asynchronous generator."""
    async with aclosing(outcomes):  # type: ignore[type-var]
        with closing(Progress(total, unit)) as bar:
            async for outcome in outcomes:
                bar.add(failed=is_failure(outcome))
                yield outcome


def _new_bar(total: int | None, unit: str) -> Any:
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        # tqdm would start a thread that looks after bars that stand still, and never end it.
        monitor_interval = 0

    options: dict[str, Any] = {"display": False} if _is_widget(tqdm) else {"dynamic_ncols": True}
    if unit == "seconds":  # a second a second is no news
        options["bar_format"] = "{l_bar}{bar}| {n_fmt}/{total_fmt} s [<{remaining}{postfix}]"
    bar = Bar(total=total, unit=f" {unit}", **options)
    bar.set_postfix_str("0 failed", refresh=False)
    return bar


def _is_widget(kind: type) -> bool:
    return any(base.__module__ == "tqdm.notebook" for base in kind.__mro__)


def _shown(bar: Any) -> Any:
    """Show a widget so that it can be replaced in the end; None for a bar of text."""
    if not _is_widget(type(bar)):
        return None
    from IPython.display import display

    return display(bar.container, display_id=True)  # type: ignore[no-untyped-call]


def _close_widget(bar: Any) -> None:
    for part in (*bar.container.children, bar.container):
        part.layout.close()
        if part.has_trait("style"):
            part.style.close()
        part.close()
    bar.disable = True  # it would go on to write to what is closed
