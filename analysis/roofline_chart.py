"""The roofline as a picture: layers under the roof, and where the time goes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from analysis.roofline import LIMITS, Roofline
from networks import slot_of

_COLOURS = {"compute": "#0072b2", "memory": "#e69f00", "launch": "#d55e00", "overhead": "#7b8794"}
_MARKERS = {"stem": "s", "transition": "D", "block": "o", "fusion": "^", "aggregator": "v"}
_GIGA = 1e9
_SIZE_IN = (10.5, 4.6)
_LARGEST_POINT = 420.0
_TITLE_CHARACTERS = 130


def draw_roofline(found: Roofline, title: str, path: Path) -> Path:
    """Draws layers by intensity and rate under the machine's roof, and the time by bound.

    A point's area is its layer's time, its colour what limits the layer, its shape the slot.

    Args:
        found: The network under the roof.
        title: Network, input, runtime and conditions.
        path: Where to write: .svg, .png or .pdf.
    """
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    roof, bars = figure.subplots(1, 2, width_ratios=(2.2, 1))
    figure.suptitle(textwrap.fill(title, _TITLE_CHARACTERS), fontsize=9)
    peaks = found.peaks
    drawn = [layer for layer in found.layers if layer.macs and layer.time_ms]
    intensities = [layer.intensity for layer in drawn] or [1.0]
    xs = np.geomspace(min(0.05, *intensities) / 2, max(50.0, *intensities) * 2, 200)
    top = peaks.macs_per_s / _GIGA
    for name, rate, style in (
        ("cache", peaks.cache_bytes_per_s, "-"),
        ("memory", peaks.memory_bytes_per_s, "--"),
    ):
        label = f"{name}: {rate / _GIGA:.0f} GB/s, {top:.0f} G MAC/s"
        roof.plot(xs, np.minimum(xs * rate / _GIGA, top), style, color="#52606d", label=label)
    most_ms = max((layer.time_ms for layer in drawn), default=1.0)
    for layer in drawn:
        roof.scatter(
            layer.intensity,
            layer.macs_per_s / _GIGA,
            s=_LARGEST_POINT * layer.time_ms / most_ms + 8,
            color=_COLOURS[layer.limit],
            marker=_MARKERS.get(slot_of(layer.address).value, "P"),
            alpha=0.7,
            linewidths=0,
        )
    for bound in LIMITS:
        roof.scatter([], [], color=_COLOURS[bound], label=f"limited by {bound}")
    for slot, marker in {**_MARKERS, "head": "P"}.items():
        roof.scatter([], [], color="#9aa5b1", marker=marker, label=slot)
    roof.set(xscale="log", yscale="log", xlabel="MACs a byte moved", ylabel="G MAC/s")
    roof.legend(fontsize=7, loc="lower right", ncols=2)
    _draw_times(found, bars)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _draw_times(found: Roofline, axes: object) -> None:
    """Stacks the time of each slot by what limits its layers."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    slots = list(dict.fromkeys(slot_of(layer.address).value for layer in found.layers))
    left = np.zeros(len(slots))
    for bound in LIMITS:
        times = np.array(
            [
                sum(
                    layer.time_ms
                    for layer in found.layers
                    if layer.limit == bound and slot_of(layer.address).value == slot
                )
                for slot in slots
            ]
        )
        axes.barh(slots, times, left=left, color=_COLOURS[bound], label=bound)
        left += times
    axes.invert_yaxis()
    axes.set(xlabel="ms, by what limits the layers")
    share = ", ".join(f"{limit} {part:.0%}" for limit, part in found.shares.items() if part)
    axes.set_title(share, fontsize=8)
