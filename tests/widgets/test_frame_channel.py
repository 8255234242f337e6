from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from detkit.widgets.frame_channel import FrameChannel, RateMeter


def test_at_most_two_are_under_way() -> None:
    channel = FrameChannel()
    assert channel.send(0.0) == 1
    assert channel.send(0.1) == 2
    assert not channel.may_send(0.2)
    assert channel.confirm(1, 0.2)
    assert channel.may_send(0.2)
    assert channel.round_trip_s == 0.2


def test_confirming_one_confirms_those_before_it() -> None:
    channel = FrameChannel()
    channel.send(0.0)
    channel.send(0.0)
    assert channel.confirm(2, 0.5)
    assert channel.in_flight == 0
    assert not channel.confirm(1, 0.6)
    assert not channel.confirm(2, 0.6)


def test_a_number_that_was_never_sent_confirms_nothing() -> None:
    channel = FrameChannel()
    channel.send(0.0)
    assert not channel.confirm(7, 0.1)
    assert channel.in_flight == 1


def test_a_silent_browser_gets_one_picture_per_patience() -> None:
    channel = FrameChannel(patience_s=2.0)
    channel.send(0.0)
    channel.send(0.0)
    sent = 0
    for tenth in range(1, 101):
        now = tenth / 10
        if channel.may_send(now):
            channel.send(now)
            sent += 1
    assert sent == 5
    assert channel.in_flight == 2


def test_while_playing_pictures_keep_their_distance() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    channel.send(0.0)
    assert not channel.may_send(0.02, is_playing=True)
    assert channel.may_send(0.02)
    assert channel.may_send(0.04, is_playing=True)


def test_a_near_browser_is_asked_about_every_second_picture() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    channel.send(0.0)
    assert channel.must_confirm, "nobody knows yet how far away it is"
    channel.confirm(1, 0.01)
    asked = []
    for number in range(2, 8):
        assert channel.may_send(0.04 * number, is_playing=True)
        channel.send(0.04 * number)
        asked.append(channel.must_confirm)
        if channel.must_confirm:
            channel.confirm(number, 0.04 * number + 0.01)
    assert asked == [False, True] * 3
    assert channel.in_flight == 0


def test_a_far_browser_is_asked_about_every_picture() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    channel.send(0.0)
    channel.confirm(1, 0.1)
    channel.send(0.2)
    assert channel.must_confirm


def test_a_sparing_channel_keeps_a_longer_distance() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    channel.is_sparing = True
    channel.send(0.0)
    assert not channel.may_send(0.057, is_playing=True)
    assert channel.may_send(0.057)
    assert channel.may_send(0.0589, is_playing=True)


def test_a_late_frame_costs_no_picture() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    sent_at = []
    for number in range(1000):  # 110 frames a second do not divide into 25 pictures
        now = number / 110
        if channel.may_send(now, is_playing=True):
            channel.confirm(channel.send(now), now)
            sent_at.append(now)
    assert 24 <= len(sent_at) / (1000 / 110) <= 26
    assert min(b - a for a, b in pairwise(sent_at)) >= 0.02


def test_redrawn_pictures_do_not_put_off_the_film() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    for now in (0.0, 0.005, 0.01, 0.015, 0.02):
        channel.confirm(channel.send(now), now)
    assert channel.may_send(0.06, is_playing=True)


def test_after_a_pause_no_lost_time_is_made_up_for() -> None:
    channel = FrameChannel(min_interval_s=0.04)
    for now in (0.0, 5.0):
        channel.confirm(channel.send(now), now)
    assert not channel.may_send(5.03, is_playing=True)
    assert channel.may_send(5.04, is_playing=True)


@given(
    st.lists(st.tuples(st.sampled_from(["send", "confirm"]), st.integers(0, 40)), max_size=80),
    st.integers(1, 4),
)
def test_never_more_in_flight_than_allowed(steps: list[tuple[str, int]], most: int) -> None:
    channel = FrameChannel(max_in_flight=most, patience_s=1e9)
    for index, (what, number) in enumerate(steps):
        if what == "confirm":
            channel.confirm(number, float(index))
        elif channel.may_send(float(index)):
            channel.send(float(index))
        assert 0 <= channel.in_flight <= most
        assert channel.in_flight <= channel.num_sent - channel.num_confirmed


def test_rates_forget() -> None:
    meter = RateMeter(window_s=1.0)
    assert meter.rate(0.0) == 0.0
    for tenth in range(21):
        meter.tick(tenth / 10)
    assert abs(meter.rate(2.0) - 10) < 0.5
    assert meter.rate(9.0) == 0.0
    meter.tick(9.0)
    meter.clear()
    assert meter.rate(9.0) == 0.0
