"""The stream of chance is pinned for ever: a change here changes every scene."""

from __future__ import annotations

import pytest

from detkit.errors import UnsupportedSettingError
from detkit.samples.draws import Draws


def test_numbers_are_pinned() -> None:
    draws = Draws(7, 3)
    drawn = [draws.uniform(), draws.normal(), draws.log_uniform(1, 10), draws.integer(0, 9)]
    assert drawn == pytest.approx(
        [0.430585733647888, -0.48892451722738284, 3.254079815495262, 2], abs=1e-12
    )


def test_streams_of_one_seed_differ() -> None:
    assert Draws(7, 0).uniform() != Draws(7, 1).uniform()
    assert Draws(7).uniform() != Draws(7, 1).uniform()


def test_seeds_beyond_32_bits_differ() -> None:
    assert Draws(5).uniform() != Draws(5 + (1 << 32)).uniform()


@pytest.mark.parametrize("seed", [-1, -(1 << 40)])
def test_negative_seed_is_refused(seed: int) -> None:
    with pytest.raises(UnsupportedSettingError, match="seed"):
        Draws(seed)


def test_integers_reach_both_ends() -> None:
    draws = Draws(0)
    assert {draws.integer(2, 4) for _ in range(100)} == {2, 3, 4}


def test_weights_decide_how_often() -> None:
    draws = Draws(0)
    drawn = [draws.pick("ab", (1, 9)) for _ in range(500)]
    assert 0.85 < drawn.count("b") / 500 < 0.95
    assert {draws.pick("abc") for _ in range(100)} == set("abc")
