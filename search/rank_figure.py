"""The picture of a rank study: short against long scores, and when the order settles."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import FRONT_COLOUR, OTHER_COLOUR, clean_axes, write_note
from analysis.rank_agreement import HOLDS_AT
from analysis.statistics import Interval
from search.rank_results import RankFindings, RankResults

_WIDTH, _ROW_HEIGHT = 8.4, 3.7


def rank_figure(results: RankResults) -> Figure:
    """Draws one row a metric: scores on both schedules, and tau to the final order over steps.

    Networks bear the numbers that they have in the report's table.
    """
    found = list(results.findings.values())
    figure = Figure(figsize=(_WIDTH, _ROW_HEIGHT * len(found) + 0.4), layout="constrained")
    panels = figure.subplots(len(found), 2, squeeze=False)
    for findings, (left, right) in zip(found, panels, strict=True):
        _draw_scores(left, findings, results)
        _draw_stability(right, findings, results)
    task = f"{results.study.task_name} at {results.study.input}"
    write_note(
        figure,
        f"{task}, {results.num_images:,} images, {_seeds(results.study.seeds)}. Left: bars are 95 "
        "% bootstrap intervals over images; numbers are those of the table. Right: bars are 95 % "
        "bootstrap intervals over networks (of the short schedule: and images).",
    )
    return figure


def _draw_scores(axes: Axes, findings: RankFindings, results: RankResults) -> None:
    clean_axes(axes)
    short, long = findings.short, findings.long
    axes.errorbar(
        [each.value for each in short],
        [each.value for each in long],
        xerr=_bars(short),
        yerr=_bars(long),
        fmt="o",
        color=OTHER_COLOUR,
        ecolor="#9fb8c9",
        elinewidth=0.8,
        markersize=4.5,
    )
    for number, (x, y) in enumerate(zip(short, long, strict=True), start=1):
        axes.annotate(
            str(number),
            (x.value, y.value),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_xlabel(f"{findings.metric}, short: {_length(results, is_short=True)}")
    axes.set_ylabel(f"{findings.metric}, long: {_length(results, is_short=False)}")
    tau = findings.overall.tau
    title = "no Kendall tau: all scores of a schedule are equal"
    if not math.isnan(tau.value):
        title = f"Kendall tau {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})"
    axes.set_title(title, fontsize=9, loc="left")


def _draw_stability(axes: Axes, findings: RankFindings, results: RankResults) -> None:
    clean_axes(axes)
    points = findings.stabilities
    if points:
        taus = [each.tau for each in points]
        axes.errorbar(
            [each.step for each in points],
            [tau.value for tau in taus],
            yerr=_bars(taus),
            fmt="o-",
            color=OTHER_COLOUR,
            capsize=2.5,
            elinewidth=1,
            linewidth=1.2,
            markersize=4.5,
            label="on the long schedule",
        )
    short = findings.overall.tau
    axes.errorbar(
        [results.short.steps],
        [short.value],
        yerr=_bars([short]),
        fmt="D",
        color=FRONT_COLOUR,
        capsize=2.5,
        elinewidth=1,
        markersize=5,
        label="the short schedule, at its end",
    )
    axes.axhline(HOLDS_AT, color="#555555", linewidth=0.8, linestyle="--")
    axes.set_ylim(-1.05, 1.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("Optimiser steps")
    axes.set_ylabel(textwrap.fill(f"Kendall tau to the final order by {findings.metric}", 34))
    axes.legend(loc="lower right", frameon=False, fontsize=8)


def _bars(intervals: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their values; none reaches backwards."""
    return [
        [max(0.0, each.value - each.low) for each in intervals],
        [max(0.0, each.high - each.value) for each in intervals],
    ]


def _length(results: RankResults, *, is_short: bool) -> str:
    schedule = results.short if is_short else results.long
    return f"{schedule.steps} steps of {schedule.batch}"


def _seeds(seeds: Sequence[int]) -> str:
    noun = "seed" if len(seeds) == 1 else "seeds"
    return f"{noun} {', '.join(map(str, seeds))}"
