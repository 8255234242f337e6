"""The error tree is what its drawing says, and errors survive a process border."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from detkit import errors
from detkit.errors import DetkitError, ItemFailure, PartialBatchError, describe
from detkit.results import DetectionResult

RESULT = DetectionResult([[0, 0, 9, 9]], [0.5], [0])
FAILURE = ItemFailure(1, "decode", errors.ImageDecodeError("bad.jpg: empty"), "bad.jpg")


def all_errors() -> dict[str, type[BaseException]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, BaseException) and kind is not DetkitError
    }


def drawn_tree() -> dict[str, tuple[str, str | None]]:
    """Name of each error in the drawing: its parent and the built-in beside it."""
    parents: dict[int, str] = {}
    tree: dict[str, tuple[str, str | None]] = {}
    line = re.compile(r"^    ((?:│   |    )*)[├└]── (\w+)(?: \((\w+)\))?")
    for text in (errors.__doc__ or "").splitlines():
        if found := line.match(text):
            depth = len(found[1]) // 4
            parents[depth] = found[2]
            tree[found[2]] = ("DetkitError" if depth == 0 else parents[depth - 1], found[3])
    return tree


def test_the_drawing_is_the_tree() -> None:
    tree = drawn_tree()
    assert set(tree) == set(all_errors())
    for name, (parent, builtin) in tree.items():
        kind = getattr(errors, name)
        assert issubclass(kind, getattr(errors, parent)), name
        if builtin is not None:
            assert issubclass(kind, getattr(__import__("builtins"), builtin)), name


@pytest.mark.parametrize("name", sorted(set(all_errors()) - {"PartialBatchError"}))
def test_an_error_survives_pickling(name: str) -> None:
    kind = all_errors()[name]
    copy = pickle.loads(pickle.dumps(kind("what was wrong")))
    assert type(copy) is kind
    assert str(copy) == "what was wrong"


def test_a_partial_batch_error_survives_pickling_but_cannot_retry() -> None:
    error = PartialBatchError("1 of 2 failed", 1, 2, [RESULT], [FAILURE], retry=lambda: [RESULT])
    assert error.retry() == [RESULT]
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.successful, copy.total) == ("1 of 2 failed", 1, 2)
    assert copy.results == [RESULT]
    assert repr(copy.failures) == repr((FAILURE,))
    assert len(copy.outcomes) == 2
    with pytest.raises(DetkitError, match="no images to retry"):
        copy.retry()


def test_outcomes_keep_the_input_order() -> None:
    error = PartialBatchError("", 1, 2, [RESULT], [FAILURE], outcomes=[FAILURE, RESULT])
    assert error.outcomes == (FAILURE, RESULT)


def test_a_failure_reads_well() -> None:
    shown = "<ItemFailure #1 'bad.jpg' at decode: ImageDecodeError: bad.jpg: empty>"
    assert repr(FAILURE) == shown
    assert repr(ItemFailure(3, "detect", ValueError())) == "<ItemFailure #3 at detect: ValueError>"


def test_describe_is_one_short_line() -> None:
    assert describe(ValueError("a\n  b")) == "ValueError: a b"
    assert len(describe(ValueError("x" * 5000))) < 220
