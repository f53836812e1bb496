"""How long counting takes: the closed form against a recorded execution and fvcore."""

from __future__ import annotations

import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from analysis.cost import measure_cost
from benchmarks.tables import Table, load_remark
from blocks import ImageSize, record_ops
from networks import lite_hrnet_18

_SIZE = ImageSize(256, 192)


def run() -> Table:
    """Times each way to count Lite-HRNet-18."""
    remark = load_remark()
    torch.set_num_threads(1)
    spec = lite_hrnet_18()
    module = spec.build().eval()
    image = torch.zeros(1, 3, _SIZE.height, _SIZE.width)

    def fvcore() -> None:
        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)
        FlopCountAnalysis(module, image).total()

    def command() -> None:
        line = [sys.executable, "-m", "cli", "profile", "lite_hrnet_18", "--json"]
        subprocess.run(line, check=True, capture_output=True)

    ways: dict[str, tuple[Callable[[], object], int]] = {
        "closed form, every convention, layers seen before": (
            lambda: measure_cost(spec, _SIZE),
            20,
        ),
        "recorded execution on meta tensors": (
            lambda: record_ops(module, [image], as_list=False),
            3,
        ),
        "fvcore, one number": (fvcore, 3),
        "branchwork profile --json, cold start": (command, 3),
    }
    rows = [(name, f"{_median_ms(call, count):.2f}") for name, (call, count) in ways.items()]
    return Table(
        title="Counting Lite-HRNet-18",
        method=f"Input {_SIZE}, 1 thread; medians of repeated calls in one run.{remark}",
        head=("way", "ms"),
        rows=rows,
    )


def _median_ms(call: Callable[[], object], count: int) -> float:
    call()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)
