"""What lives over the operations of a forward pass, as SVG: as it runs, and in the best order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import groupby

from analysis.memory import Memory, Timeline

_WIDTH, _HEIGHT = 1040.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 8.0, 44.0, 34.0
_EAGER, _BEST = "#0072b2", "#d55e00"
_DARK, _GREY, _BAND = "#1f2933", "#52606d", "#f0f2f5"
_GLYPH = 6.2
_MOST_TICKS = 6
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("bytes", 1))


def memory_svg(name: str, memory: Memory) -> str:
    """Returns a network's live memory as an SVG element, with its stages as bands.

    Bands are the parts in the order in which the network runs them: stem, stages, aggregator and
    head of ours, the children of any other module.

    Args:
        name: What the network is called.
        memory: Its memory.
    """
    eager, best = memory.eager, memory.best_order
    title = f"Live activation memory of {name}, {memory.conditions}"
    frame = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" '
        f'width="{_WIDTH:g}" height="{_HEIGHT:g}" role="img" font-size="11" '
        f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>'
    )
    scale = _Scale(len(eager.steps), max(eager.peak_bytes, best.peak_bytes))
    drawn = [
        _bands(eager, scale),
        _axis(scale),
        _area(eager, scale),
        _line(eager, scale, _EAGER),
        _line(best, scale, _BEST),
        _peak(eager, scale, _EAGER),
        _peak(best, scale, _BEST),
        _legend(memory, scale),
    ]
    return f"{frame}{''.join(drawn)}</svg>"


class _Scale:
    """Turns operations and bytes into places on the picture, and bytes into text."""

    def __init__(self, num_steps: int, most_bytes: int) -> None:
        self.num_steps = max(num_steps, 1)
        self.unit, self.unit_bytes = next(
            each for each in _UNITS if most_bytes >= each[1] or each[1] == 1
        )
        self.step = _round_step(most_bytes / self.unit_bytes / (_MOST_TICKS - 1) or 1)
        self.num_ticks = math.ceil(most_bytes / self.unit_bytes / self.step) or 1

    def x(self, index: float) -> float:
        """The left edge of an operation."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * index / self.num_steps

    def y(self, num_bytes: float) -> float:
        """The height of so many bytes."""
        most = self.num_ticks * self.step * self.unit_bytes
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * num_bytes / most

    def text(self, num_bytes: int) -> str:
        """Bytes in the picture's unit."""
        return f"{num_bytes / self.unit_bytes:,.2f} {self.unit}"


def _round_step(least: float) -> float:
    """Returns the next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least)


def _bands(timeline: Timeline, scale: _Scale) -> str:
    parts = []
    start = 0
    named = [_part_name(step.address) for step in timeline.steps]
    for index, (name, steps) in enumerate(groupby(named)):
        end = start + len(list(steps))
        left, width = scale.x(start), scale.x(end) - scale.x(start)
        colour = _BAND if index % 2 == 0 else "none"
        high = _HEIGHT - _TOP - _BOTTOM
        label = name if len(name) * _GLYPH <= width else ""
        parts.append(
            f"<g><title>{escape(name)}: operations {start} to {end - 1}</title>"
            f'<rect x="{left:.2f}" y="{_TOP:g}" width="{width:.2f}" height="{high:g}" '
            f'fill="{colour}" pointer-events="all"/>'
            f'<text x="{left + width / 2:.2f}" y="{_HEIGHT - _BOTTOM + 14:g}" fill="{_GREY}" '
            f'text-anchor="middle">{escape(label)}</text></g>'
        )
        start = end
    return "".join(parts)


def _part_name(address: str) -> str:
    words = address.split(".")
    return ".".join(words[:2]) if words[0] == "stages" else words[0] or "(itself)"


def _axis(scale: _Scale) -> str:
    parts = []
    for tick in range(scale.num_ticks + 1):
        value = tick * scale.step
        y = scale.y(value * scale.unit_bytes)
        text = f"{value:g} {scale.unit}" if tick == scale.num_ticks else f"{value:g}"
        parts.append(
            f'<line x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y:.2f}" y2="{y:.2f}" '
            f'stroke="#d3d8de" stroke-width="0.7"/><text x="{_LEFT - 6:g}" y="{y + 4:.2f}" '
            f'fill="{_GREY}" text-anchor="end">{text}</text>'
        )
    parts.append(
        f'<text x="{_LEFT:g}" y="{_HEIGHT - 4:g}" fill="{_GREY}">'
        f"{scale.num_steps:,} operations, in order</text>"
    )
    return "".join(parts)


def _corners(timeline: Timeline, scale: _Scale) -> Sequence[str]:
    """Returns the corners of steps; equal values that follow each other make one step."""
    corners = []
    start = 0
    for live, run in groupby(timeline.live_bytes):
        end = start + len(list(run))
        y = scale.y(live)
        corners += [f"{scale.x(start):.2f},{y:.2f}", f"{scale.x(end):.2f},{y:.2f}"]
        start = end
    return corners


def _area(timeline: Timeline, scale: _Scale) -> str:
    floor = scale.y(0)
    ends = f"{scale.x(len(timeline.steps)):.2f},{floor:.2f} {scale.x(0):.2f},{floor:.2f}"
    points = f"{' '.join(_corners(timeline, scale))} {ends}"
    return f'<polygon points="{points}" fill="{_EAGER}" fill-opacity="0.12" pointer-events="none"/>'


def _line(timeline: Timeline, scale: _Scale, colour: str) -> str:
    return (
        f'<polyline points="{" ".join(_corners(timeline, scale))}" fill="none" '
        f'stroke="{colour}" stroke-width="1.2" pointer-events="none"/>'
    )


def _peak(timeline: Timeline, scale: _Scale, colour: str) -> str:
    index, step = timeline.peak_index, timeline.peak_step
    if index is None or step is None:
        return ""
    x, y = scale.x(index + 0.5), scale.y(timeline.peak_bytes)
    tip = f"{timeline.peak_bytes:,} bytes at {step.address or '(itself)'} ({step.kind})"
    return (
        f'<circle cx="{x:.2f}" cy="{y:.2f}" r="4" fill="{colour}" stroke="#ffffff">'
        f"<title>{escape(tip)}</title></circle>"
    )


def _legend(memory: Memory, scale: _Scale) -> str:
    """Writes both peaks above the picture, each in a line of its own."""
    best = "best order" if memory.best_order_is_proven else "best order found"
    parts = []
    for row, (timeline, colour, name) in enumerate(
        ((memory.eager, _EAGER, "as it runs"), (memory.best_order, _BEST, best))
    ):
        step = timeline.peak_step
        place = "" if step is None else f" at {step.address or '(itself)'} ({step.kind})"
        text = f"{name}: peak {scale.text(timeline.peak_bytes)}{place}"
        y = 14.0 + 16 * row
        parts.append(
            f'<circle cx="{_LEFT + 5:g}" cy="{y - 4:g}" r="4" fill="{colour}"/>'
            f'<text x="{_LEFT + 15:g}" y="{y:g}" fill="{_DARK}">{escape(text)}</text>'
        )
    return "".join(parts)
