"""Figures for reports and papers, as SVG, PDF or PNG.

Every axis carries convention and unit, every score its metric, task and input. Colours are those
of Okabe and Ito (2008), which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.axes import INTERVAL_MEANING, cost_axis, score_label
from analysis.comparing import originals, require_one_protocol
from analysis.published import CAVEAT, MARK, protocol_label, published_results, under_protocol
from analysis.records import Record
from analysis.tables import cost_table, front, objective_values, record_label
from blocks import ImageSize

SLOT_COLOURS = {
    "stem": "#7f7f7f",
    "transition": "#56b4e9",
    "block": "#0072b2",
    "fusion": "#e69f00",
    "aggregator": "#009e73",
    "head": "#cc79a7",
}
"""One colour a slot, in charts and drawings alike."""

FRONT_COLOUR = "#d55e00"
OTHER_COLOUR = "#0072b2"
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = "osD^vPX"
# From right to wrong.
_PART_COLOURS = ("#009e73", "#56b4e9", "#e69f00", "#cc79a7", "#7f7f7f")
_LOG_RATIO = 8
_MAX_NAMES = 8
_MAX_CURVES = 12


def tradeoff_figure(records: Sequence[Record], cost: str = "macs") -> Figure:
    """Draws accuracy against a cost, with 95 % intervals and the front.

    Args:
        records: Records of one protocol and input size; those without a score are left out.
        cost: ``macs``, ``params`` or a latency.

    Raises:
        BranchworkError: If the records may not be compared.
    """
    group = require_one_protocol(records)
    axis = cost_axis(cost, group.records)
    compared = originals(group.records)
    costs = [value / axis.divisor for value in objective_values(compared, cost)]
    best = front(compared, ["score", cost])
    figure, axes = _figure()
    points = list(zip(costs, compared, strict=True))
    others = [(x, record) for x, record in points if record not in best]
    _intervals(axes, others, "o", OTHER_COLOUR, "other networks")
    on_front = sorted(((x, r) for x, r in points if r in best), key=lambda point: point[0])
    _intervals(axes, on_front, "D", FRONT_COLOUR, "front: none is better in both")
    line = [(x, r.score.value) for x, r in on_front if r.score is not None]
    axes.plot(*zip(*line, strict=True), color=FRONT_COLOUR, linewidth=1, alpha=0.5, zorder=1)
    if len(best) <= _MAX_NAMES:
        for record in best:
            _name(axes, costs[compared.index(record)], record)
    _log_if_wide(axes, [x for x in costs if np.isfinite(x)])
    axes.set_xlabel(textwrap.fill(axis.label, 90))
    axes.set_ylabel(textwrap.fill(score_label(group), 44))
    axes.margins(x=0.08, y=0.12)
    _start_at_zero(axes)
    axes.legend(loc="best", frameon=False, fontsize=8)
    write_note(figure, f"Bars: {INTERVAL_MEANING}.")
    return figure


def curves_figure(records: Sequence[Record]) -> Figure:
    """Draws training loss and score over optimiser steps, one line a network.

    Raises:
        BranchworkError: If the records may not be compared.
    """
    group = require_one_protocol(records)
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    drawn = [record for record in originals(group.records) if record.curve][:_MAX_CURVES]
    for index, record in enumerate(drawn):
        colour = SERIES_COLOURS[index % len(SERIES_COLOURS)]
        dashes = "-" if index < len(SERIES_COLOURS) else "--"
        steps = [point.step for point in record.curve]
        label = textwrap.shorten(record_label(record), 44, placeholder="...")
        losses.plot(steps, [p.loss for p in record.curve], dashes, color=colour, linewidth=1.2)
        scored = [(p.step, p.score) for p in record.curve if p.score is not None]
        xs, ys = [step for step, _ in scored], [score for _, score in scored]
        scores.plot(xs, ys, dashes, marker="o", markersize=3, color=colour, label=label)
    for axes, name in ((losses, "Training loss, mean since the last point"), (scores, "")):
        clean_axes(axes)
        axes.set_xlabel("Optimiser steps")
        axes.set_ylabel(textwrap.fill(name or score_label(group), 30))
    _start_at_zero(scores)
    if drawn:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=7)
    write_note(figure, "Each line is one training run.")
    return figure


def cost_figure(record: Record, measure: str = "macs") -> Figure:
    """Draws where a network's MACs or params are: stacked by slot, one bar a stage.

    Args:
        record: A record whose kinds are all registered.
        measure: ``macs`` or ``params``.

    Raises:
        BranchworkError: If a kind in the spec is not registered here.
    """
    return stacked_figure(cost_table(record), record_label(record), record.input, measure)


def stacked_figure(table: pd.DataFrame, label: str, size: ImageSize, measure: str) -> Figure:
    """Draws a cost stacked by slot, one bar a stage.

    Args:
        table: Columns ``stage``, ``slot`` and the measure, in order of execution.
        label: What the network is called.
        size: The image's size.
        measure: ``macs`` or ``params``.
    """
    axis = cost_axis(measure, ())
    stages = list(dict.fromkeys(table["stage"]))
    figure, axes = _figure(height=3.2)
    bottoms = np.zeros(len(stages))
    for slot, colour in SLOT_COLOURS.items():
        part = table[table["slot"] == slot].set_index("stage")[measure]
        heights = part.reindex(stages, fill_value=0).to_numpy(dtype=float) / axis.divisor
        if heights.any():
            axes.bar(stages, heights, 0.7, bottom=bottoms, color=colour, label=slot)
        bottoms += heights
    # A bar's foot pins the axis to itself, also at the top of the bar that it stands on.
    axes.set_ylim(0, 1.08 * float(bottoms.max()))
    axes.set_ylabel(textwrap.fill(axis.label, 36))
    axes.legend(frameon=False, fontsize=8, ncols=2)
    total = axis.write(float(table[measure].sum()))
    axes.set_title(f"{label}: {total} at {size}", fontsize=9, loc="left")
    return figure


def slot_shares_figure(networks: Sequence[tuple[str, pd.DataFrame]], measure: str) -> Figure:
    """Draws what share of a cost every slot has, one bar a network: sizes apart still compare.

    Args:
        networks: What every network is called, and its table as for ``stacked_figure``.
        measure: ``macs`` or ``params``.
    """
    axis = cost_axis(measure, ())
    figure, axes = _figure(height=1.4 + 0.45 * len(networks))
    places = np.arange(len(networks))
    totals = [float(table[measure].sum()) for _, table in networks]
    feet = np.zeros(len(networks))
    for slot, colour in SLOT_COLOURS.items():
        parts = [float(table[table["slot"] == slot][measure].sum()) for _, table in networks]
        shares = np.array(
            [
                100 * part / total if total else 0.0
                for part, total in zip(parts, totals, strict=True)
            ]
        )
        if shares.any():
            axes.barh(places, shares, 0.62, left=feet, color=colour, label=slot)
        feet += shares
    names = [
        f"{textwrap.shorten(label, 34, placeholder='...')}\n{axis.write(total)}"
        for (label, _), total in zip(networks, totals, strict=True)
    ]
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(textwrap.fill(f"Share of the total, %: {axis.title}", 80))
    figure.legend(loc="outside upper center", ncols=len(SLOT_COLOURS), frameon=False, fontsize=8)
    return figure


def parts_figure(bars: Sequence[tuple[str, Mapping[str, float]]], note: str) -> Figure:
    """Draws into which parts each of several wholes falls: a stacked bar for each, in per cent.

    Args:
        bars: What every bar is called, and its parts as fractions; the same parts for all.
        note: What was counted.
    """
    figure, axes = _figure(height=1.4 + 0.28 * len(bars))
    places = np.arange(len(bars))
    feet = np.zeros(len(bars))
    for index, name in enumerate(bars[0][1] if bars else ()):
        shares = np.array([100 * parts[name] for _, parts in bars])
        colour = _PART_COLOURS[index % len(_PART_COLOURS)]
        axes.barh(places, shares, 0.72, left=feet, color=colour, label=name)
        feet += shares
    axes.set_yticks(places, [label for label, _ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("Share of what is labelled, %")
    figure.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    write_note(figure, note)
    return figure


def published_figure(task: str, protocol: tuple[str, ...]) -> Figure:
    """Draws published results against published params: a panel of its own, never with ours.

    Args:
        task: The task's name.
        protocol: One of ``published_protocols(task)``.
    """
    results = under_protocol(published_results(task), protocol).dropna(subset=["params_m"])
    figure, axes = _figure()
    for index, (family, rows) in enumerate(results.groupby("family", sort=True)):
        colour = SERIES_COLOURS[index % len(SERIES_COLOURS)]
        # After a round of colours the markers are shifted, so that no two families look alike.
        marker = MARKERS[(index + index // len(SERIES_COLOURS)) % len(MARKERS)]
        axes.plot(rows["params_m"], rows["value"], marker, color=colour, label=family, markersize=5)
    _log_if_wide(axes, list(results["params_m"]))
    axes.set_xlabel("Learnable parameters as published, M")
    axes.set_ylabel(f"{protocol[0]} as published, %")
    axes.set_title(f"{MARK}: {protocol_label(protocol)}", fontsize=9, loc="left")
    if results.empty:
        axes.text(0.5, 0.5, "no parameters published", ha="center", transform=axes.transAxes)
    else:
        figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    write_note(figure, CAVEAT)
    return figure


def figure_svg(figure: Figure) -> str:
    """Returns a figure as an SVG element that can stand inside an HTML page."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "branchwork"}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save_figure(figure: Figure, path: Path) -> Path:
    """Writes a figure in the format that the file's suffix names (svg, pdf, png)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
    return path


def is_wide(values: Sequence[float]) -> bool:
    """Tells whether a linear axis would press most of the points together.

    >>> is_wide([1.0, 2.0, 40.0])
    True
    """
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) / min(positive) > _LOG_RATIO


def _figure(height: float = 4.2) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    clean_axes(axes)
    return figure, axes


def clean_axes(axes: Axes) -> None:
    """Gives axes the look of all our figures."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def _intervals(
    axes: Axes, points: Sequence[tuple[float, Record]], marker: str, colour: str, label: str
) -> None:
    scored = [(x, r.score) for x, r in points if r.score is not None and np.isfinite(x)]
    if not scored:
        return
    axes.errorbar(
        [x for x, _ in scored],
        [score.value for _, score in scored],
        yerr=[
            [max(0.0, score.value - score.low) for _, score in scored],
            [max(0.0, score.high - score.value) for _, score in scored],
        ],
        fmt=marker,
        color=colour,
        label=label,
        capsize=2.5,
        elinewidth=1,
        markersize=5,
    )


def _name(axes: Axes, x: float, record: Record) -> None:
    assert record.score is not None
    text = f"trial {record.trial}" if record.trial is not None else record.network
    axes.annotate(
        textwrap.shorten(text, 28, placeholder="..."),
        (x, record.score.value),
        xytext=(5, 4),
        textcoords="offset points",
        fontsize=7,
    )


def write_note(figure: Figure, text: str) -> None:
    """Writes what a figure's marks mean below it."""
    figure.supxlabel(textwrap.fill(text, 110), fontsize=7, color="#555555", x=0.01, ha="left")


def _start_at_zero(axes: Axes) -> None:
    """Cuts off what lies below 0, where there are no scores."""
    low, high = axes.get_ylim()
    if low < 0:
        # Networks that all score 0 leave a range around it.
        axes.set_ylim(0 if high <= 0 else -0.02 * high, high if high > 0 else 1)


def _log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    if is_wide(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
