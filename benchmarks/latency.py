"""Latency of the presets beside each other: interleaved, in one process."""

from __future__ import annotations

import statistics
import time

import torch

from analysis.latency import RUNTIMES
from benchmarks.tables import Table, load_remark
from blocks import ImageSize
from networks import PRESETS

_NAMES = (
    "lite_hrnet_18",
    "naive_lite_hrnet_18",
    "small_hrnet_w16",
    "hrnet_w32",
    "mobilenet_v2",
    "shufflenet_v2",
)
_SIZE = ImageSize(256, 192)
_ROUNDS = 30


def run() -> Table:
    """Measures the median and the ratio to Lite-HRNet-18."""
    remark = load_remark()
    torch.set_num_threads(1)
    calls = {
        name: RUNTIMES["eager"].prepare(PRESETS[name].make(17).build(), _SIZE, 1) for name in _NAMES
    }
    times_ms: dict[str, list[float]] = {name: [] for name in _NAMES}
    for number in range(_ROUNDS + 3):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number >= 3:  # noqa: PLR2004 - the first rounds warm up
                times_ms[name].append((time.perf_counter() - started) * 1e3)
    first = times_ms[_NAMES[0]]
    rows = []
    for name, values in times_ms.items():
        ratios = [value / base for value, base in zip(values, first, strict=True)]
        rows.append(
            (
                name,
                f"{statistics.median(values):.1f}",
                f"{statistics.quantiles(values, n=10)[-1]:.1f}",
                f"{statistics.median(ratios):.2f}",
            )
        )
    return Table(
        title="Latency of the presets",
        method=f"Eager PyTorch, float32, 1 thread, batch 1, {_SIZE}, 17 outputs; {_ROUNDS} rounds, "
        f"networks taking turns; the ratio is the median over rounds.{remark}",
        head=("network", "median, ms", "90th percentile, ms", "ratio to lite_hrnet_18"),
        rows=rows,
    )
