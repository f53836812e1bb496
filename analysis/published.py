"""Published results and published costs: facts of others, never mixed with what we measure.

``published.csv`` holds one result a row, with what is known of its protocol. Printed FLOPs follow
different rules and units (columns ``flops_rule`` and ``flops_unit``), so they compare with each
other only under an equal rule; empty cells are not known.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

from analysis.published_costs import PUBLISHED_COSTS, PublishedCost

__all__ = [
    "CAVEAT",
    "MARK",
    "PROTOCOL_COLUMNS",
    "PUBLISHED_COSTS",
    "PublishedCost",
    "protocol_label",
    "published_protocols",
    "published_results",
    "under_protocol",
]

MARK = "published, not measured here"
"""The words that stand at every chart and table of published results."""

CAVEAT = (
    "Printed FLOPs follow different rules and units (2^20, 2^30, 10^6) and compare only under an "
    "equal rule; training recipes differ between sources."
)
"""What a reader must know before comparing two rows."""

PROTOCOL_COLUMNS = ("metric", "split", "boxes", "input")
"""Published rows stand in one chart only if they agree in these."""


@cache
def _all_results() -> pd.DataFrame:
    text_columns = dict.fromkeys(
        ("input", "boxes", "pretrained", "flops_unit", "flops_rule", "source"), str
    )
    with files("analysis").joinpath("published.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=text_columns)
    return table.fillna(dict.fromkeys(text_columns, ""))


def published_results(task: str) -> pd.DataFrame:
    """Returns the published results of a task; no rows where none are known.

    Args:
        task: A task's name, such as ``coco_keypoints``.

    Returns:
        One row a result: ``network``, ``family``, ``metric``, ``value`` (percent), ``input``
        (height x width), ``split``, ``boxes`` (detector, ground truth, not stated, "" where a
        task has none), ``pretrained``, ``params_m`` (millions), ``flops_as_printed_m`` (printed
        M, or printed G times 1000), ``flops_unit``, ``flops_rule`` and ``source``.
    """
    table = _all_results()
    return table[table["task"] == task].drop(columns="task").reset_index(drop=True)


def published_protocols(task: str) -> tuple[tuple[str, ...], ...]:
    """Returns the groups of published results that may share a chart, the largest first.

    Returns:
        Values of ``PROTOCOL_COLUMNS``.
    """
    table = published_results(task)
    if table.empty:
        return ()
    sizes = table.groupby(list(PROTOCOL_COLUMNS)).size().sort_values(ascending=False, kind="stable")
    return tuple(tuple(map(str, group)) for group in sizes.index)


def under_protocol(results: pd.DataFrame, protocol: tuple[str, ...]) -> pd.DataFrame:
    """Returns the published results of one protocol."""
    mask = pd.Series(data=True, index=results.index)
    for column, value in zip(PROTOCOL_COLUMNS, protocol, strict=True):
        mask &= results[column] == value
    return results[mask].reset_index(drop=True)


def protocol_label(protocol: tuple[str, ...]) -> str:
    """Writes the protocol of published results on one line.

    >>> protocol_label(("AP", "val2017", "detector", "256x192"))
    'AP, val2017, boxes: detector, input 256x192'
    """
    metric, split, boxes, size = protocol
    parts = [metric, split]
    if boxes:
        parts.append(f"boxes: {boxes}")
    parts.append(f"input {size}" if size else "input not stated")
    return ", ".join(parts)
