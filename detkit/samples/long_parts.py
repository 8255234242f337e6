"""Parts that lie on their side: bolt and spring.

Owns their proportions, outlines and looks, as `round_parts` does for the round ones. Lengths are
in part units: the part is 1 long, along u, with a bolt's head at the negative end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.samples import surface as mat
from detkit.samples.draws import Draws
from detkit.samples.geometry import Outline, Points, circle, rectangle
from detkit.samples.surface import Material, Plane, Shape, Sprite


@dataclass(frozen=True)
class _BoltForm:
    radius: float
    head: float
    head_half: float
    thread_from: float
    pitch: float
    kind: str
    metal: Material


def make_bolt(draws: Draws) -> Shape:
    """A bolt with hexagon head, flange head or socket head; 1.6 to 4 diameters long."""
    ratio = draws.uniform(1.6, 4.0)
    kind = draws.pick(("hexagon", "flange", "socket"), (6, 2, 3))
    head = {"hexagon": 0.66, "flange": 0.80, "socket": 1.0}[kind]
    width = {"hexagon": 0.92, "flange": 1.08, "socket": 0.78}[kind]
    diameter = 1.0 / (head + ratio)
    smooth = draws.pick((0.0, draws.uniform(0.15, 0.45)), (2, 1))
    form = _BoltForm(
        radius=diameter / 2,
        head=head * diameter,
        head_half=width * diameter,
        thread_from=-0.5 + head * diameter + max(smooth * ratio, 0.12) * diameter,
        pitch=diameter * draws.uniform(0.16, 0.2),
        kind=kind,
        metal=draws.pick(
            (mat.STEEL, mat.ZINC, mat.YELLOW_ZINC, mat.BLACK_OXIDE, mat.BRASS, mat.RUSTY),
            (4, 4, 2.5, 2, 1, 0.5),
        ),
    )
    neck, r = -0.5 + form.head, form.radius
    tip = _frustum(0.5, 0.5 - 0.35 * r, 0.65 * r, r)
    shank = rectangle(neck, -r, 0.5 - 0.35 * r, r)
    outline = Outline((*_head_pieces(form), shank, tip), 0.5, (r + form.head_half) / 2, False)
    return Shape(outline, 2 * form.radius, lambda sprite: _paint_bolt(sprite, form))


def _head_pieces(form: _BoltForm) -> tuple[Points, ...]:
    """The head's silhouette; the numbers are those that the painters cut with."""
    h, left, right = form.head_half, -0.5, -0.5 + form.head
    if form.kind == "socket":
        edge = left + 0.12 * h
        return _frustum(left, edge, 0.88 * h, h), rectangle(edge, -h, right, h)
    if form.kind == "flange":
        lip = right - 0.28 * form.head
        return *_hexagon_pieces(left, lip, 0.82 * h), rectangle(lip, -h, right, h)
    return _hexagon_pieces(left, right, h)


def _hexagon_pieces(left: float, right: float, h: float) -> tuple[Points, Points]:
    edge = left + 0.08 * h
    return _frustum(left, edge, 0.896 * h, h), rectangle(edge, -h, right, h)


def _frustum(u0: float, u1: float, half0: float, half1: float) -> Points:
    """A symmetric trapezoid between u0 and u1."""
    return np.array([[u0, -half0], [u1, -half1], [u1, half1], [u0, half0]])


def _paint_bolt(sprite: Sprite, form: _BoltForm) -> None:
    _paint_shank(sprite, form)
    if form.kind == "socket":
        _paint_socket_head(sprite, form)
    else:
        _paint_hexagon_head(sprite, form)


def _paint_shank(sprite: Sprite, form: _BoltForm) -> None:
    u, v, r = sprite.u, sprite.v, form.radius
    lean = 0.5 * form.pitch / (2 * r)
    turn = (u + lean * v) * (1.0 / form.pitch)
    tooth = np.abs(2.0 * (turn - np.floor(turn)) - 1.0)
    threaded = np.clip((u - form.thread_from) * (1.0 / form.pitch), 0.0, 1.0)
    threaded = threaded * np.clip((0.5 - 0.3 * r - u) * (1.0 / form.pitch), 0.0, 1.0)
    tip = np.maximum(u - (0.5 - 0.35 * r), 0.0)
    bite = 0.42 * form.pitch * tooth * threaded
    reach = r - bite - tip
    d = np.maximum(np.abs(v) - reach, np.maximum(u - 0.5, (-0.5 + form.head * 0.8) - u))
    height = np.sqrt(np.maximum(reach * reach - v * v, 1e-8))
    tone = 1.0 - 0.45 * tooth * threaded
    # The head keeps light from the first stretch of the shank.
    neck = np.clip((u - (-0.5 + form.head)) * (1.0 / (0.5 * r)), 0.0, 1.0)
    sprite.layer(sprite.coverage(d), height, form.metal, tone=tone * (0.5 + 0.5 * neck))


def _paint_hexagon_head(sprite: Sprite, form: _BoltForm) -> None:
    u, v, h = sprite.u, sprite.v, form.head_half
    left, right = -0.5, -0.5 + form.head
    if form.kind == "flange":
        lip = right - 0.28 * form.head
        disc = np.maximum(np.abs(v) - h, np.maximum(u - right, lip - u))
        dome: Plane = 0.8 * np.sqrt(np.maximum(h * h - v * v, 1e-8))
        dome = dome - 0.5 * np.maximum(right - u, 0.0)
        sprite.layer(sprite.coverage(disc), dome, form.metal)
        right, h = lip + 0.004, h * 0.82
    corner = 0.12 * h + 0.35 * np.maximum(np.abs(v) - 0.5 * h, 0.0)
    crown = np.maximum(left + corner - u, 0.0)
    d = np.maximum(np.abs(v) - h + 1.3 * np.maximum(left + 0.08 * h - u, 0.0), u - right)
    d = np.maximum(d, left - u)
    # Three faces of the hexagon: the middle one is level, its neighbours fall off by 60 degrees.
    height = (-1.1 * np.maximum(np.abs(v) - 0.5 * h, 0.0) - 0.9 * crown).astype(np.float32)
    sprite.layer(sprite.coverage(d), height, form.metal)


def _paint_socket_head(sprite: Sprite, form: _BoltForm) -> None:
    u, v, h = sprite.u, sprite.v, form.head_half
    left, right = -0.5, -0.5 + form.head
    rim = np.maximum(left + 0.12 * h - u, 0.0)
    d = np.maximum(np.abs(v) - h + rim, np.maximum(u - right, left - u))
    across = np.arcsin(np.clip(v * (1.0 / h), -1.0, 1.0))
    knurled = np.clip((u - left - 0.22 * h) * (8.0 / h), 0.0, 1.0)
    knurled = knurled * np.clip((right - 0.1 * h - u) * (8.0 / h), 0.0, 1.0)
    ridges = 0.022 * h * np.sin(across * 34.0) * knurled
    height = np.sqrt(np.maximum(h * h - v * v, 1e-8)) - rim + ridges
    sprite.layer(sprite.coverage(d), height, form.metal)


@dataclass(frozen=True)
class _SpringForm:
    coils: int
    half: float
    wire: float
    metal: Material


def make_spring(draws: Draws) -> Shape:
    """A compression spring with 6 to 12 coils and closed ends."""
    coils = draws.integer(6, 12)
    pitch = 1.0 / (coils + 0.6)
    form = _SpringForm(
        coils=coils,
        half=draws.uniform(0.14, 0.23),
        wire=min(pitch * draws.uniform(0.17, 0.27), 0.034),
        metal=draws.pick(
            (mat.POLISHED_STEEL, mat.STEEL, mat.ZINC, mat.BLACK_OXIDE, mat.YELLOW_ZINC),
            (4, 3, 2, 1.5, 1),
        ),
    )
    wires = [*_front_wires(form), *_back_wires(form)]
    pieces = tuple(_capsule(*wire, form.wire) for wire in wires)
    outline = Outline(pieces, 0.5, form.half, is_round=False)
    return Shape(outline, 2 * form.half, lambda sprite: _paint_spring(sprite, form))


_Wire = tuple[float, float, float, float]


def _pitch(form: _SpringForm) -> float:
    return (1.0 - 4.0 * form.wire) / form.coils


def _front_wires(form: _SpringForm) -> list[_Wire]:
    """Centre lines (u0, v0, u1, v1) of the wire where it passes above."""
    v, p, start = form.half - form.wire, _pitch(form), -0.5 + 2.0 * form.wire
    slanted = [(start + (i + 0.5) * p, -v, start + (i + 1.0) * p, v) for i in range(form.coils)]
    ends = [(-0.5 + form.wire, -v, -0.5 + form.wire, v), (0.5 - form.wire, -v, 0.5 - form.wire, v)]
    return [ends[0], *slanted, ends[1]]


def _back_wires(form: _SpringForm) -> list[_Wire]:
    """Centre lines of the wire where it passes below."""
    v, p, start = form.half - form.wire, _pitch(form), -0.5 + 2.0 * form.wire
    return [(start + i * p, v, start + (i + 0.5) * p, -v) for i in range(form.coils)]


def _capsule(u0: float, v0: float, u1: float, v1: float, radius: float) -> Points:
    """A convex polygon round a thick line with round ends."""
    angle = np.arctan2(v1 - v0, u1 - u0)
    ring = circle(radius)
    along = ring @ np.array([np.cos(angle), np.sin(angle)])
    order = np.argsort(np.arctan2(ring[:, 1], ring[:, 0]) - angle)
    front, back = order[along[order] >= 0], order[along[order] < 0]
    return np.concatenate([ring[front] + (u1, v1), ring[back] + (u0, v0)])


def _paint_spring(sprite: Sprite, form: _SpringForm) -> None:
    p, start = _pitch(form), -0.5 + 2.0 * form.wire
    _paint_wires(sprite, form, start + 0.25 * p, -p, form.coils, tone=0.4)
    _paint_wires(sprite, form, start + 0.75 * p, p, form.coils, tone=1.0)
    for end in (-0.5 + form.wire, 0.5 - form.wire):
        _paint_wires(sprite, form, end, 0.0, 1, tone=1.0)


def _paint_wires(
    sprite: Sprite, form: _SpringForm, first: float, lean: float, count: int, tone: float
) -> None:
    """Parallel wires: crossing v = 0 at `first` + k pitches, leaning `lean`/2 over the width."""
    p, top = _pitch(form), form.half - form.wire
    slope = lean / (4.0 * top)
    offset = sprite.u - np.float32(first) - np.float32(slope) * np.clip(sprite.v, -top, top)
    which = np.clip(np.round(offset * (1.0 / p)), 0, count - 1)
    across = (offset - which * p) * np.float32(1.0 / np.sqrt(1.0 + slope * slope))
    beyond = np.maximum(np.abs(sprite.v) - top, 0.0)
    squared = across * across + beyond * beyond
    d: Plane = np.sqrt(squared) - form.wire
    bulge = np.sqrt(np.maximum(form.wire**2 - squared, 1e-9))
    arch = 0.7 * np.sqrt(np.maximum(form.half**2 - sprite.v**2, 1e-6))
    sprite.layer(sprite.coverage(d), bulge + arch, form.metal, tone=tone)
