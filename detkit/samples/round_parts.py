"""Parts that lie flat and round on the belt: nut, washer, gear, bearing.

Owns their proportions, outlines and looks. Each `make_*` draws the proportions and returns the
shape; the painter is bound to them. Lengths are in part units: the largest diameter is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.samples import surface as mat
from detkit.samples.draws import Draws
from detkit.samples.geometry import Outline, Points, circle
from detkit.samples.surface import Material, Plane, Shape, Sprite, bevel, hexagon

TAU = 2 * np.pi


def _round(corners: Points, radius: float = 0.5) -> Outline:
    return Outline((corners,), radius, radius, is_round=True)


def _ring(rho: Plane, inner: float, outer: float) -> Plane:
    """Signed distance to an annulus."""
    distance = np.abs(rho - (inner + outer) / 2) - (outer - inner) / 2
    return np.asarray(distance, dtype=np.float32)


def make_washer(draws: Draws) -> Shape:
    """A plain washer, narrow to wide."""
    bore = draws.uniform(0.22, 0.31)
    metal = draws.pick(
        (mat.STEEL, mat.ZINC, mat.YELLOW_ZINC, mat.COPPER, mat.BRASS, mat.BLACK_OXIDE, mat.RUSTY),
        (4, 4, 2, 1.5, 1.5, 1.2, 0.5),
    )
    turned = draws.uniform(0.3, 1.0)

    def paint(sprite: Sprite) -> None:
        d = _ring(sprite.rho, bore, 0.5)
        grooves = 0.0004 * np.sin(sprite.rho * 230.0)
        sprite.layer(sprite.coverage(d), bevel(d, 0.035, 0.03) + grooves, metal, turned=turned)

    return Shape(_round(circle(0.5)), 0.09, paint)


def make_nut(draws: Draws) -> Shape:
    """A hexagon nut from above: plain, with a flange, or with a nylon ring."""
    bore = draws.uniform(0.235, 0.275)
    kind = draws.pick(("plain", "flange", "nylon"), (6, 2, 2))
    metal = draws.pick(
        (mat.STEEL, mat.ZINC, mat.YELLOW_ZINC, mat.BRASS, mat.BLACK_OXIDE, mat.RUSTY),
        (4, 4, 2, 2.5, 1.2, 0.5),
    )
    nylon = draws.pick((mat.BLUE_NYLON, mat.WHITE_NYLON, mat.RED_RUBBER), (4, 1, 1))
    apothem = 0.433 * (0.80 if kind == "flange" else 1.0)
    bore *= 0.80 if kind == "flange" else 1.0

    def paint(sprite: Sprite) -> None:
        rho = sprite.rho
        if kind == "flange":
            rim = _ring(rho, bore, 0.5)
            cone = bevel(rim, 0.02, 0.02) - 0.45 * rho
            sprite.layer(sprite.coverage(rim), cone, metal, turned=0.4)
        wall = np.maximum(hexagon(sprite.u, sprite.v, apothem), bore - rho)
        chamfer = -0.55 * np.maximum(rho - 0.97 * apothem, 0.0)
        sink = -0.9 * np.maximum(bore * 1.14 - rho, 0.0)
        height = bevel(hexagon(sprite.u, sprite.v, apothem), 0.02, 0.03) + chamfer + sink
        sprite.layer(sprite.coverage(wall), height, metal, turned=0.35)
        inner = bore * (0.80 if kind == "nylon" else 0.86)
        thread = _ring(rho, inner, bore)
        if kind == "nylon":
            collar = _ring(rho, bore, bore * 1.22)
            sprite.layer(sprite.coverage(collar), bevel(collar, 0.03, 0.05), metal)
            sprite.layer(sprite.coverage(thread), bevel(thread, 0.03, 0.02), nylon)
        else:
            spiral = 0.02 * np.sin(rho * (TAU / 0.022) + sprite.theta)
            sprite.layer(sprite.coverage(thread), 0.8 * rho + spiral, metal, tone=0.42)

    if kind == "flange":
        return Shape(_round(circle(0.5)), 0.28, paint)
    corners = np.array([[np.cos(a), np.sin(a)] for a in np.arange(6) * TAU / 6]) * 0.5
    return Shape(_round(corners, 0.47), 0.32, paint)


@dataclass(frozen=True)
class _GearForm:
    teeth: int
    root: float
    bore: float
    hub: float
    holes: int
    web: float
    key: bool
    metal: Material
    turned: float


def make_gear(draws: Draws) -> Shape:
    """A spur gear with 10 to 30 teeth, hub, bore, and perhaps a keyway and lightening holes."""
    teeth = draws.integer(10, 30)
    depth = min(0.11, 1.15 / teeth)
    form = _GearForm(
        teeth=teeth,
        root=0.5 - depth,
        bore=draws.uniform(0.07, 0.13),
        hub=draws.uniform(0.17, 0.21),
        holes=draws.pick((0, 4, 5, 6), (4, 1, 2, 2)),
        web=draws.uniform(0.0, 0.05),
        key=draws.chance(0.6),
        metal=draws.pick(
            (mat.STEEL, mat.CAST, mat.BRASS, mat.BLACK_OXIDE, mat.WHITE_NYLON, mat.POLISHED_STEEL),
            (5, 2, 3, 1, 1, 2),
        ),
        turned=draws.uniform(0.3, 0.9),
    )
    tips = []
    for tooth in range(teeth):
        for side in (-1.0, -0.5, 0.0, 0.5, 1.0):
            angle = (tooth + side * _TIP_HALF) * TAU / teeth
            tips.append((0.5 * np.cos(angle), 0.5 * np.sin(angle)))
    return Shape(_round(np.array(tips), 0.49), 0.16, lambda sprite: _paint_gear(sprite, form))


_TIP_HALF, _ROOT_HALF = 0.13, 0.30  # half a tooth's width at tip and root, as parts of the pitch


def _paint_gear(sprite: Sprite, form: _GearForm) -> None:
    rho, pitch = sprite.rho, TAU / form.teeth
    phi = np.abs(sprite.theta - np.round(sprite.theta * (1 / pitch)) * pitch)
    climb = np.clip((rho - form.root) / (0.5 - form.root), 0.0, 1.0)
    half = pitch * (_ROOT_HALF + (_TIP_HALF - _ROOT_HALF) * climb**1.3)
    tooth = np.maximum(rho - 0.5, (phi - half) * rho * 0.9)
    outside = np.minimum(rho - form.root, tooth)
    hole = rho - form.bore
    if form.key:
        key = np.maximum(np.abs(sprite.v) - form.bore * 0.3, np.abs(sprite.u - form.bore) - 0.04)
        hole = np.minimum(hole, key)
    if form.holes:
        step = TAU / form.holes
        around = sprite.theta - np.round(sprite.theta * (1 / step)) * step
        middle = (form.hub + form.root - 0.05) / 2
        x, y = rho * np.cos(around) - middle, rho * np.sin(around)
        size = min(0.075, (form.root - 0.05 - form.hub) * 0.36)
        hole = np.minimum(hole, np.sqrt(x * x + y * y) - size)
    d = np.maximum(outside, -hole)
    height = bevel(d, 0.022, 0.02)
    web = _ring(rho, form.hub, form.root - 0.05)
    if form.web > 0.015:
        height = height - form.web * np.clip(-web * (1 / 0.03), 0.0, 1.0)
    tone = 1.0 - 0.22 * np.clip(-web * (1 / 0.02), 0.0, 1.0) * (form.web > 0.015)
    height = height + 0.0004 * np.sin(rho * 240.0)
    sprite.layer(sprite.coverage(d), height, form.metal, tone=tone, turned=form.turned)


@dataclass(frozen=True)
class _BearingForm:
    kind: str
    bore: float
    inner: float
    outer: float
    balls: int
    cage: Material
    seal: Material
    spin: float


def make_bearing(draws: Draws) -> Shape:
    """A ball bearing from above: open with its balls, sealed, or shielded."""
    form = _BearingForm(
        kind=draws.pick(("open", "seal", "shield"), (5, 3, 2)),
        bore=draws.uniform(0.15, 0.21),
        inner=draws.uniform(0.255, 0.275),
        outer=draws.uniform(0.395, 0.415),
        balls=draws.integer(7, 10),
        cage=draws.pick((mat.BRASS, mat.STEEL, mat.WHITE_NYLON), (3, 3, 1)),
        seal=draws.pick((mat.BLACK_RUBBER, mat.RED_RUBBER, mat.BLUE_NYLON), (6, 2, 1)),
        spin=draws.uniform(0.0, 1.0),
    )
    return Shape(_round(circle(0.5)), 0.26, lambda sprite: _paint_bearing(sprite, form))


def _paint_bearing(sprite: Sprite, form: _BearingForm) -> None:
    rho = sprite.rho
    gap = _ring(rho, form.inner - 0.01, form.outer + 0.01)
    if form.kind == "open":
        sprite.layer(sprite.coverage(gap), None, mat.SHADE)
        _paint_balls(sprite, form)
    else:
        cover = form.seal if form.kind == "seal" else mat.ZINC
        steps = 0.012 * np.cos((rho - form.inner) * (TAU / (form.outer - form.inner)))
        sprite.layer(sprite.coverage(gap), steps, cover, turned=0.5 * (form.kind == "shield"))
    for inner, outer in ((form.outer, 0.5), (form.bore, form.inner)):
        ring = _ring(rho, inner, outer)
        sprite.layer(
            sprite.coverage(ring), bevel(ring, 0.028, 0.035), mat.POLISHED_STEEL, turned=0.9
        )


def _paint_balls(sprite: Sprite, form: _BearingForm) -> None:
    rho, step = sprite.rho, TAU / form.balls
    middle, size = (form.inner + form.outer) / 2, (form.outer - form.inner) * 0.54
    turn = sprite.theta + np.float32(form.spin * step)
    around = turn - np.round(turn * (1 / step)) * step
    ribbon = np.abs(rho - middle) - 0.02
    sprite.layer(sprite.coverage(ribbon), bevel(ribbon, 0.02, 0.02), form.cage, tone=0.8)
    x, y = rho * np.cos(around) - middle, rho * np.sin(around)
    away = np.sqrt(x * x + y * y)
    sprite.layer(sprite.coverage(away - size - 0.012), None, form.cage, tone=0.55)
    dome = np.sqrt(np.maximum(size * size - away * away, 0.0))
    sprite.layer(sprite.coverage(away - size), dome, mat.POLISHED_STEEL)
