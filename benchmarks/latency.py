"""Latency of the presets beside each other: interleaved, in one process."""

from __future__ import annotations

from analysis.latency import THOROUGH, Subject, measure_latencies, random_module
from analysis.runtimes import Conditions
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


def run() -> Table:
    """Measures the median and the ratio to Lite-HRNet-18."""
    remark = load_remark()
    subjects = [
        Subject(
            name=name,
            module=random_module(PRESETS[name].make(17)),
            runtime="eager",
            conditions=Conditions(size=_SIZE),
        )
        for name in _NAMES
    ]
    rows = []
    for each in measure_latencies(subjects).measured:
        assert each.ratio is not None
        rows.append(
            (
                each.subject.name,
                f"{each.latency.p50_ms:.1f}",
                f"{each.latency.p90_ms:.1f}",
                f"{each.ratio.value:.2f} ({each.ratio.low:.2f} to {each.ratio.high:.2f})",
                each.latency.verdict,
            )
        )
    return Table(
        title="Latency of the presets",
        method=f"Eager PyTorch, float32, 1 thread, batch 1, {_SIZE}, 17 outputs; at least "
        f"{THOROUGH.min_runs} passes and {THOROUGH.min_duration_s:g} s each, in "
        f"{THOROUGH.num_rounds} rounds, networks taking turns; the ratio is the geometric mean "
        f"over rounds with its 95 % interval.{remark}",
        head=(
            "network",
            "median, ms",
            "90th percentile, ms",
            "ratio to lite_hrnet_18",
            "verdict",
        ),
        rows=rows,
    )
