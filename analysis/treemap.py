"""Treemaps as SVG: areas in proportion to a cost, by stage, slot and layer.

Rectangles are laid out by the squarified algorithm of Bruls, Huizing and van Wijk, "Squarified
Treemaps" (2000), level by level. Nothing is taken off an area for frames or captions, so that
every area is the cost's share of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from analysis.axes import cost_axis
from analysis.figures import SLOT_COLOURS
from analysis.profiles import NetworkProfile, sums_by

_WIDTH, _HEIGHT = 1040.0, 420.0
_LEGEND_HEIGHT = 26.0
_FONT_SIZES = (12.0, 10.0, 9.0)
_GLYPH, _LINE, _MARGIN = 0.6, 1.2, 4.0
_NO_SLOT = "#0072b2"
_DARK, _LIGHT = "#1f2933", "#ffffff"


@dataclass(frozen=True)
class Rectangle:
    """A rectangle by its upper left corner and its sides."""

    x: float
    y: float
    width: float
    height: float


def squarify(values: Sequence[float], area: Rectangle) -> tuple[Rectangle, ...]:
    """Splits an area into one rectangle a value, as square as the order of sizes allows.

    Args:
        values: Positive numbers.
        area: What is split, in proportion to them.

    Returns:
        The rectangles, in the order of the values.
    """
    order = sorted(range(len(values)), key=lambda index: -values[index])
    rectangles = [area] * len(values)
    scale = area.width * area.height / (sum(values) or 1)
    start = 0
    while start < len(order):
        side = min(area.width, area.height)
        sizes = [values[index] * scale for index in order[start:]]
        count = _row_length(sizes, side)
        row, area = _split(sizes[:count], area)
        for index, rectangle in zip(order[start : start + count], row, strict=True):
            rectangles[index] = rectangle
        start += count
    return tuple(rectangles)


def treemap_svg(profile: NetworkProfile, measure: str) -> str:
    """Returns a network's treemap as an SVG element: stages, in them slots, in them layers.

    Layers without any of the cost have no area. Every rectangle says its address and its exact
    share under the pointer, and names itself where the name fits.

    Args:
        profile: The network.
        measure: ``macs`` or ``params``.
    """
    tiles = list(_tiles(profile, measure))
    total = profile.cost.conventions[measure]
    title = f"{cost_axis(measure, ()).title} of {profile.marked_name}, {total:,}"
    drawn = "".join(_tile_svg(tile, total, measure) for tile in tiles)
    frames = "".join(_frame(area, 2.5) for area in _frames(tiles, "slot"))
    frames += "".join(_frame(area, 6.0) for area in _frames(tiles, "stage"))
    slots = [slot for slot in SLOT_COLOURS if any(tile.slot == slot for tile in tiles)]
    height = _HEIGHT + (_LEGEND_HEIGHT if slots else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height:g}" '
        f'width="{_WIDTH:g}" height="{height:g}" role="img" '
        f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>'
        f"{drawn}{frames}{_legend(slots)}</svg>"
    )


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """One layer's rectangle, with those of its stage and slot."""

    layer: str
    slot: str
    value: int
    area: Rectangle
    slot_area: Rectangle
    stage_area: Rectangle


def _tiles(profile: NetworkProfile, measure: str) -> Iterator[_Tile]:
    layers = sums_by(profile.places, lambda place: (place.stage, place.slot, place.layer))
    costs = {key: counts[measure] for key, counts in layers.items() if counts[measure] > 0}
    for stage_area, stage in _level(costs, 1, Rectangle(0, 0, _WIDTH, _HEIGHT)):
        for slot_area, slot in _level(stage, 2, stage_area):
            for area, layer in _level(slot, 3, slot_area):
                ((_, slot_name, name), value), *_ = layer.items()
                yield _Tile(
                    layer=name,
                    slot=slot_name,
                    value=value,
                    area=area,
                    slot_area=slot_area,
                    stage_area=stage_area,
                )


_Costs = dict[tuple[str, str, str], int]


def _level(costs: _Costs, depth: int, area: Rectangle) -> Iterator[tuple[Rectangle, _Costs]]:
    """Yields the groups of costs that agree in the first ``depth`` names, each with its area."""
    groups: dict[tuple[str, ...], _Costs] = {}
    for key, value in costs.items():
        groups.setdefault(key[:depth], {})[key] = value
    areas = squarify([float(sum(group.values())) for group in groups.values()], area)
    yield from zip(areas, groups.values(), strict=True)


def _row_length(sizes: Sequence[float], side: float) -> int:
    """Returns how many of the sizes, largest first, make the squarest row along a side."""
    count, best = 1, _worst_ratio(sizes[:1], side)
    while count < len(sizes):
        ratio = _worst_ratio(sizes[: count + 1], side)
        if ratio > best:
            break
        count, best = count + 1, ratio
    return count


def _worst_ratio(sizes: Sequence[float], side: float) -> float:
    total = sum(sizes)
    return max(side * side * sizes[0] / total**2, total**2 / (side * side * sizes[-1]))


def _split(sizes: Sequence[float], area: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    """Lays a row along the shorter side; returns it and what is left of the area."""
    upright = area.width >= area.height
    length = area.height if upright else area.width
    thickness = sum(sizes) / length
    rectangles = []
    position = 0.0
    for size in sizes:
        extent = size / sum(sizes) * length
        rectangles.append(
            Rectangle(area.x, area.y + position, thickness, extent)
            if upright
            else Rectangle(area.x + position, area.y, extent, thickness)
        )
        position += extent
    rest = (
        Rectangle(area.x + thickness, area.y, area.width - thickness, area.height)
        if upright
        else Rectangle(area.x, area.y + thickness, area.width, area.height - thickness)
    )
    return rectangles, rest


def _tile_svg(tile: _Tile, total: int, measure: str) -> str:
    colour = SLOT_COLOURS.get(tile.slot, _NO_SLOT)
    share = f"{100 * tile.value / total:.1f} %"
    tip = f"{tile.layer}: {tile.value:,} {measure}, {share}"
    area = tile.area
    return (
        f"<g><title>{escape(tip)}</title>{_rect(area)}"
        f' fill="{colour}" stroke="#ffffff" stroke-width="0.8"/>'
        f"{_label_svg(_captions(tile.layer, share), area, _text_colour(colour))}</g>"
    )


def _captions(layer: str, share: str) -> list[list[str]]:
    """Returns what a rectangle may say of its layer, the most telling first."""
    words = layer.split(".")
    # The unit's or stage's address stands above what the layer is in it.
    cut = next((i for i, word in enumerate(words) if word in _LAST_WORDS), 0)
    above, last = ".".join(words[:cut]), ".".join(words[cut:])
    if not above:
        return [[last, share], [last]]
    stacked = [".".join(words[i : i + 2]) for i in range(0, cut, 2)]
    return [[above, last, share], [*stacked, last, share], [*stacked, last], [above, last], [last]]


_LAST_WORDS = frozenset({"transition", "body", "fusion"})


def _label_svg(captions: Sequence[Sequence[str]], area: Rectangle, colour: str) -> str:
    """Writes the first caption that fits, in the largest size that it fits in."""
    for lines in captions:
        for size in _FONT_SIZES:
            wide = max(map(len, lines)) * _GLYPH * size + 2 * _MARGIN
            high = len(lines) * _LINE * size + 2 * _MARGIN
            if wide <= area.width and high <= area.height:
                left, top = area.x + _MARGIN + 2, area.y + _MARGIN + size
                spans = "".join(
                    f'<tspan x="{left:.2f}" y="{top + index * _LINE * size:.2f}">'
                    f"{escape(line)}</tspan>"
                    for index, line in enumerate(lines)
                )
                return f'<text font-size="{size:g}" fill="{colour}">{spans}</text>'
    return ""


def _frames(tiles: Sequence[_Tile], level: str) -> Iterator[Rectangle]:
    for area, _ in groupby(tiles, key=lambda tile: getattr(tile, f"{level}_area")):
        yield area


def _frame(area: Rectangle, thickness: float) -> str:
    return f'{_rect(area)} fill="none" stroke="#ffffff" stroke-width="{thickness:g}"/>'


def _rect(area: Rectangle) -> str:
    """Opens a ``rect`` element; colours follow."""
    return (
        f'<rect x="{area.x:.2f}" y="{area.y:.2f}" width="{area.width:.2f}" '
        f'height="{area.height:.2f}"'
    )


def _legend(slots: Sequence[str]) -> str:
    drawn = []
    x = 2.0
    for slot in slots:
        swatch = Rectangle(x, _HEIGHT + 10, 11, 11)
        drawn.append(
            f'{_rect(swatch)} fill="{SLOT_COLOURS[slot]}"/><text font-size="12" fill="{_DARK}" '
            f'x="{x + 16:g}" y="{_HEIGHT + 20:g}">{escape(slot)}</text>'
        )
        x += 40 + 7.5 * len(slot)
    return "".join(drawn)


def _text_colour(background: str) -> str:
    """Returns the text colour that stands out more, by the contrast ratio of WCAG 2."""
    ground = _luminance(background)
    light = (_luminance(_LIGHT) + 0.05) / (ground + 0.05)
    dark = (ground + 0.05) / (_luminance(_DARK) + 0.05)
    return _LIGHT if light >= dark else _DARK


def _luminance(colour: str) -> float:
    # The curve of sRGB without its straight foot near black, which tells no two colours apart.
    linear = [
        math.pow((int(colour[start : start + 2], 16) / 255 + 0.055) / 1.055, 2.4)
        for start in (1, 3, 5)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
