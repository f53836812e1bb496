"""Plotly figures of the dashboard: the same axes, colours and words as the reports' figures."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.axes import SCORE_UNIT, Axis, cost_axis, score_label, write_score
from analysis.comparing import Comparable
from analysis.figures import (
    FRONT_COLOUR,
    OTHER_COLOUR,
    SERIES_COLOURS,
    SLOT_COLOURS,
    is_wide,
)
from analysis.records import Record
from analysis.tables import cost_table, front, objective_values, record_label

_HEIGHT = 430
_SMALL_HEIGHT = 330
_WRAP = 80
_MAX_CHOICES = 8
_MARKERS = ("circle", "square", "diamond", "triangle-down", "triangle-up", "pentagon", "x")


def tradeoff_chart(group: Comparable, cost: str, chosen: str) -> go.Figure:
    """Draws accuracy against a cost, with intervals, the front, and a ring around one record.

    Args:
        group: Records that may be compared; those without this cost are left out.
        cost: ``macs``, ``params`` or a latency's whole name.
        chosen: The ``record_id`` in the ring.
    """
    axis = cost_axis(cost, group.records)
    values = [value / axis.divisor for value in objective_values(group.records, cost)]
    costs = dict(zip((record.record_id for record in group.records), values, strict=True))
    drawn = [record for record in group.records if math.isfinite(costs[record.record_id])]
    best = front(drawn, ["score", cost])
    on_front = {record.record_id for record in best}
    others = [record for record in drawn if record.record_id not in on_front]
    plain = {"color": OTHER_COLOUR, "size": 9, "symbol": "circle"}
    marked = {"color": FRONT_COLOUR, "size": 11, "symbol": "diamond"}
    line = {"color": FRONT_COLOUR, "width": 1}
    figure = go.Figure()
    figure.add_trace(_points("other networks", others, costs, axis, plain))
    figure.add_trace(_points("front: none is better in both", best, costs, axis, marked))
    figure.data[1].update(mode="lines+markers", line=line)
    for record in drawn:
        if record.record_id == chosen and record.score is not None:
            figure.add_trace(_ring(costs[chosen], record.score.value))
    figure.update_xaxes(title=_wrap(axis.label))
    figure.update_yaxes(title=_wrap(score_label(group), 46), rangemode="nonnegative")
    _log_if_wide(figure, [costs[record.record_id] for record in drawn])
    return _dressed(figure, _HEIGHT)


def published_chart(results: pd.DataFrame, label: str) -> go.Figure:
    """Draws published results of one protocol against published parameters.

    Args:
        results: Rows of ``analysis.published.published_results`` that share a protocol.
        label: What stands at the vertical axis.
    """
    figure = go.Figure()
    known = results.dropna(subset=["params_m"])
    for index, (family, rows) in enumerate(known.groupby("family", sort=True)):
        figure.add_trace(
            go.Scatter(
                x=rows["params_m"],
                y=rows["value"],
                mode="markers",
                name=str(family),
                marker={
                    "color": SERIES_COLOURS[index % len(SERIES_COLOURS)],
                    # After a round of colours the markers are shifted: no two families look alike.
                    "symbol": _MARKERS[(index + index // len(SERIES_COLOURS)) % len(_MARKERS)],
                    "size": 8,
                },
                text=rows["network"].map(escape),
                hovertemplate="%{text}<br>%{y} % at %{x} M params<extra></extra>",
            )
        )
    figure.update_xaxes(title="Learnable parameters as published, M")
    figure.update_yaxes(title=label)
    _log_if_wide(figure, list(known["params_m"]))
    return _dressed(figure, _HEIGHT)


def cost_chart(record: Record, measure: str) -> go.Figure:
    """Draws where a network's MACs or params are: a bar a stage, stacked by slot.

    Args:
        record: A record whose kinds are all registered.
        measure: ``macs`` or ``params``.

    Raises:
        BranchworkError: If the input size does not suit the network.
    """
    table = cost_table(record)
    axis = cost_axis(measure, [record])
    total = table[measure].sum()
    figure = go.Figure()
    for slot, colour in SLOT_COLOURS.items():
        part = table[(table["slot"] == slot) & (table[measure] > 0)]
        if part.empty:
            continue
        figure.add_trace(
            go.Bar(
                x=part["stage"],
                y=part[measure] / axis.divisor,
                name=slot,
                marker={"color": colour},
                customdata=part[measure] / total,
                hovertemplate=f"{slot} of %{{x}}<br>%{{y:,.4g}} {axis.unit}, "
                "%{customdata:.1%} of the network<extra></extra>",
            )
        )
    stages = list(dict.fromkeys(table["stage"]))
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    figure.update_xaxes(categoryorder="array", categoryarray=stages)
    figure.update_yaxes(title=_wrap(axis.label, 34))
    return _dressed(figure, _SMALL_HEIGHT)


def curve_chart(record: Record) -> go.Figure:
    """Draws a record's learning curve: training loss above, score below."""
    assert record.score is not None
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    steps = [point.step for point in record.curve]
    scored = [point for point in record.curve if point.score is not None]
    lines = (
        ("loss", steps, [point.loss for point in record.curve], FRONT_COLOUR),
        ("score", [p.step for p in scored], [p.score for p in scored], OTHER_COLOUR),
    )
    for row, (name, xs, ys, colour) in enumerate(lines, start=1):
        line = go.Scatter(
            x=xs,
            y=ys,
            name=name,
            mode="lines+markers",
            line={"color": colour},
            showlegend=False,
            hovertemplate=f"step %{{x:,}}: {name} %{{y:.4g}}<extra></extra>",
        )
        figure.add_trace(line, row=row, col=1)
    figure.update_yaxes(title="Training loss", row=1, col=1)
    figure.update_yaxes(
        title=f"{record.score.metric} (validation, {SCORE_UNIT})",
        rangemode="nonnegative",
        row=2,
        col=1,
    )
    figure.update_xaxes(title="Optimiser steps", row=2, col=1)
    return _dressed(figure, _SMALL_HEIGHT)


def choices_lines(choices: Mapping[str, Any]) -> list[str]:
    """Writes a trial's choices, one a line: ``branches = 3``."""
    return [f"{address} = {json.dumps(value)}" for address, value in choices.items()]


def _points(
    name: str,
    records: Sequence[Record],
    costs: Mapping[str, float],
    axis: Axis,
    marker: Mapping[str, Any],
) -> go.Scatter:
    scores = [record.score for record in records if record.score is not None]
    return go.Scatter(
        x=[costs[record.record_id] for record in records],
        y=[score.value for score in scores],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, score.high - score.value) for score in scores],
            "arrayminus": [max(0.0, score.value - score.low) for score in scores],
            "thickness": 1,
            "width": 3,
            "color": marker["color"],
        },
        mode="markers",
        marker=marker,
        # Points at a score of 0 lie on the axis, and are still whole.
        cliponaxis=False,
        # Otherwise choosing one point fades all others.
        unselected={"marker": {"opacity": 1}},
        name=name,
        customdata=[[record.record_id] for record in records],
        text=[
            _hover(record, axis.write(costs[record.record_id] * axis.divisor)) for record in records
        ],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(record: Record, cost: str) -> str:
    assert record.score is not None
    lines = choices_lines(record.choices)
    if len(lines) > _MAX_CHOICES:
        lines = [*lines[: _MAX_CHOICES - 1], f"and {len(lines) - _MAX_CHOICES + 1} more"]
    head = [f"<b>{escape(record_label(record))}</b>", escape(write_score(record.score)), cost]
    return "<br>".join([*head, *(escape(textwrap.shorten(line, 70)) for line in lines)])


def _ring(x: float, y: float) -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"size": 20, "symbol": "circle-open", "color": FRONT_COLOUR, "line": {"width": 2}},
        name="shown below",
        cliponaxis=False,
        hoverinfo="skip",
    )


def _log_if_wide(figure: go.Figure, values: Sequence[float]) -> None:
    if is_wide(values):
        positive = [value for value in values if value > 0]
        decades = range(math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive))))
        ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
        ticks.append(10.0**decades.stop)
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:,g}" for tick in ticks])


def _wrap(text: str, width: int = _WRAP) -> str:
    return "<br>".join(textwrap.wrap(text, width))


def _dressed(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(automargin=True, showgrid=True)
    figure.update_yaxes(automargin=True)
    return figure
