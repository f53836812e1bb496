"""Networks rewritten for deployment beside the published execution and beside other networks."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from analysis.handover import SLOW_HANDOVER, handover_slowdown
from analysis.latency import random_module
from analysis.runtimes import RUNTIMES, Conditions, OnnxModelRuntime, Prepared
from analysis.timing import THOROUGH, Turn, ratio, take_turns, warm
from benchmarks.published_execution import PublishedLiteHRNet
from benchmarks.tables import Table, load_remark
from blocks import ImageSize
from networks import PRESETS, rewrite

_SIZE = ImageSize(256, 192)
_THREADS = 2
_RUNTIMES = ("eager", "onnxruntime", "openvino")
_OURS = "lite_hrnet_18"
_EFFORT = replace(THOROUGH, num_rounds=20)
"""Of so many rounds some are left where others had to be left out."""
_PEERS = ("naive_lite_hrnet_18", "small_hrnet_w16", "hrnet_w32", "mobilenet_v2", "shufflenet_v2")


@dataclass(frozen=True)
class _Entry:
    network: str
    runtime: str
    prepared: Prepared


def run() -> Table:
    """Measures all in one process, in turns."""
    remark = load_remark()
    conditions = Conditions(size=_SIZE, threads=_THREADS)
    entries = [
        *_entries("published execution", PublishedLiteHRNet().eval(), conditions, _as_published),
        *_network(_OURS, conditions),
        *(entry for name in _PEERS for entry in _network(name, conditions)),
    ]
    for entry in entries:
        warm(entry.prepared, THOROUGH.max_warm_s)
    prepared = [entry.prepared for entry in entries]
    turns = list(take_turns(prepared, _EFFORT, handover_slowdown))
    of = [_close([turn for turn in turns if turn.index == place]) for place in range(len(entries))]
    eager_base = of[0]
    rows = []
    for index, entry in enumerate(entries):
        times_ms = [time for turn in of[index] for time in turn.times_ms]
        same = next(i for i, each in enumerate(entries) if each.runtime == entry.runtime)
        against = [ratio(base, of[index]) for base in (of[same], eager_base)]
        rows.append(
            (
                entry.network,
                entry.runtime,
                f"{statistics.median(times_ms):.2f}",
                f"{min(times_ms):.2f}",
                *(
                    "" if each is None else f"{each.value:.2f} ({each.low:.2f} to {each.high:.2f})"
                    for each in against
                ),
                str(entry.prepared.num_kernels() or ""),
            )
        )
    busy = statistics.mean(turn.busy_cores for turn in turns)
    num_apart = len(turns) - sum(map(len, of))
    return Table(
        title="Rewritten networks, the published execution, and other networks",
        method=f"float32, batch 1, {_SIZE}, {_THREADS} threads, 17 outputs, random weights; all in "
        f"one process and in turns, at least {_EFFORT.min_runs} passes and "
        f"{_EFFORT.min_duration_s:g} s each in {_EFFORT.num_rounds} rounds. How many times "
        "faster than the published execution of Lite-HRNet-18 (PyTorch's own ONNX exporter for "
        "ONNX Runtime and OpenVINO) in the same runtime and in eager PyTorch: geometric mean over "
        f"rounds, 95 % interval. Kernels: operator calls that touch memory, primitives executed. "
        f"Other processes used {busy:.2f} cores meanwhile. Turns in which the host had moved the "
        f"cores so that they shared no cache are left out: {num_apart} of {len(turns)}.{remark}",
        head=(
            "network",
            "runtime",
            "median, ms",
            "fastest, ms",
            "times faster, same runtime",
            "times faster than eager",
            "kernels",
        ),
        rows=rows,
    )


def _close(turns: list[Turn]) -> list[Turn]:
    """Returns the turns before which the cores shared a cache; all if they never did."""
    close = [turn for turn in turns if turn.probed is None or turn.probed <= SLOW_HANDOVER]
    return close or turns


def _network(name: str, conditions: Conditions) -> list[_Entry]:
    module = random_module(PRESETS[name].make(17))
    rewritten = rewrite(module, _SIZE)
    return [
        *_entries(name, module, conditions, _by_us),
        *_entries(f"{name}, rewritten", rewritten, conditions, _by_us),
    ]


Preparing = Callable[[str, nn.Module, Conditions], Prepared]


def _entries(
    name: str, module: nn.Module, conditions: Conditions, prepare: Preparing
) -> list[_Entry]:
    return [_Entry(name, runtime, prepare(runtime, module, conditions)) for runtime in _RUNTIMES]


def _by_us(runtime: str, module: nn.Module, conditions: Conditions) -> Prepared:
    return RUNTIMES[runtime].prepare(module, conditions)


def _as_published(runtime: str, module: nn.Module, conditions: Conditions) -> Prepared:
    """Prepares the published execution as its users would, with PyTorch's exporter."""
    chosen = RUNTIMES[runtime]
    if not isinstance(chosen, OnnxModelRuntime):
        return chosen.prepare(module, conditions)
    import onnx

    exported = torch.onnx.export(module, (conditions.images(),), dynamo=True, verbose=False)
    assert exported is not None
    file = io.BytesIO()
    exported.save(file)
    return chosen.prepare_model(onnx.load_from_string(file.getvalue()), conditions)
