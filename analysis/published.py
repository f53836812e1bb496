"""Published results and published costs: facts of others, never mixed with what we measure.

``published.csv`` holds one result a row, with what is known of its protocol. Printed FLOPs follow
different rules and units (columns ``flops_rule`` and ``flops_unit``), so they compare with each
other only under an equal rule; empty cells are not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import pandas as pd

from analysis.cost import Cost
from blocks import ImageSize

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


@dataclass(frozen=True, kw_only=True)
class PublishedCost:
    """What a paper prints for one of our presets.

    Attributes:
        preset: The preset's name.
        input: The image's size.
        num_outputs: Key points: 17 for COCO, 16 for MPII.
        params: Parameters as printed.
        flops: FLOPs as printed.
        rule: The counting convention behind them, a key of ``CONVENTIONS``.
        unit: What the printed M or G stands for.
        note: What does not agree.
    """

    preset: str
    input: ImageSize
    num_outputs: int
    params: str
    flops: str
    rule: str
    unit: int
    note: str = ""

    def recount(self, cost: Cost) -> str:
        """Returns our count by the same rule, in the same unit and with as many decimals.

        Args:
            cost: What we count for the preset at this input and number of outputs.
        """
        number, letter = self.flops.split()
        decimals = len(number.partition(".")[2])
        return f"{cost.conventions[self.rule] / self.unit:.{decimals}f} {letter}"


def _paper(preset: str, size: str, params: str, flops: str, note: str = "") -> PublishedCost:
    return _published(preset, size, (params, flops), "paper", note)


def _macs(preset: str, size: str, params: str, flops: str) -> PublishedCost:
    return _published(preset, size, (params, flops), "macs", "")


def _published(
    preset: str, size: str, printed: tuple[str, str], rule: str, note: str
) -> PublishedCost:
    params, flops = printed
    return PublishedCost(
        preset=preset,
        input=ImageSize.parse(size),
        num_outputs=16 if size == "256x256" else 17,
        params=params,
        flops=flops,
        rule=rule,
        unit=2**30 if flops.endswith("G") else 2**20,
        note=note,
    )


PUBLISHED_COSTS: tuple[PublishedCost, ...] = (
    _paper("lite_hrnet_18", "256x192", "1.1 M", "205.2 M"),
    _paper("lite_hrnet_18", "384x288", "1.1 M", "461.6 M"),
    _paper("lite_hrnet_18", "256x256", "1.1 M", "273.4 M"),
    _paper("lite_hrnet_30", "256x192", "1.8 M", "319.2 M"),
    _paper("lite_hrnet_30", "384x288", "1.8 M", "717.8 M"),
    _paper("lite_hrnet_30", "256x256", "1.8 M", "425.3 M"),
    _paper("naive_lite_hrnet_18", "256x192", "0.7 M", "194.8 M", "params printed truncated"),
    _paper("naive_lite_hrnet_18", "256x256", "0.7 M", "259.6 M", "params printed truncated"),
    _paper("wider_naive_lite_hrnet_18", "256x192", "1.3 M", "311.1 M"),
    _paper(
        "wider_naive_lite_hrnet_18", "256x256", "1.3 M", "418.7 M", "not reproduced by its own rule"
    ),
    _paper("small_hrnet_w16", "256x192", "1.3 M", "551.7 M"),
    _paper("small_hrnet_w16", "384x288", "1.3 M", "1.21 G"),
    _paper("small_hrnet_w16", "256x256", "1.3 M", "735.5 M"),
    _macs("hrnet_w32", "256x192", "28.5 M", "7.1 G"),
    _macs("hrnet_w32", "384x288", "28.5 M", "16.0 G"),
    _macs("hrnet_w48", "256x192", "63.6 M", "14.6 G"),
    _macs("hrnet_w48", "384x288", "63.6 M", "32.9 G"),
    _paper("mobilenet_v2", "256x192", "9.6 M", "1.48 G"),
    _paper("mobilenet_v2", "384x288", "9.6 M", "3.33 G"),
    _paper("shufflenet_v2", "256x192", "7.6 M", "1.28 G"),
    _paper("shufflenet_v2", "384x288", "7.6 M", "2.87 G"),
)
"""Costs that papers print for our presets, with the rule and unit that reproduce them.

Sources: Lite-HRNet (arXiv 2104.06403), tables 1, 3 and 6; HRNet (arXiv 1902.09212), table 1.
"""
