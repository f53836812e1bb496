"""``branchwork roofline``: what limits a network on this machine, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Changes, Input, OneNetwork, Runs, Task, open_store

if TYPE_CHECKING:
    from analysis.roofline import Roofline


def roofline(
    network: OneNetwork,
    input_: Input = None,
    task: Task = None,
    runtime: Annotated[
        str,
        typer.Option("--runtime", help="What executes it: eager, onnxruntime or openvino."),
    ] = "eager",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads it may use.")] = 1,
    rewrite: Annotated[
        bool,
        typer.Option("--rewrite/--no-rewrite", help="Rewrite the network for deployment first."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the picture there: .svg, .png or .pdf.")
    ] = None,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Say what limits a network on this machine: arithmetic, moving bytes, or calls.

    Measures how fast the machine multiplies and copies and what a call costs in the runtime, then
    where the runtime's time goes, and sets every layer's MACs and bytes beside it. Batch 1,
    float32, random weights.

    Example:

        branchwork roofline lite_hrnet_18 --runtime openvino --out roofline.svg
    """
    store = open_store(runs, blocks)
    from analysis.latency import RUNTIMES, THOROUGH, Subject, measure_latencies, random_module
    from analysis.peaks import measure_peaks
    from analysis.roofline import roofline as under_the_roof
    from analysis.roofline_chart import draw_roofline
    from analysis.runtimes import Conditions
    from blocks import BranchworkError, Problem, check_image_size, did_you_mean
    from cli.networks import find_networks, input_of
    from cli.output import print_json, say

    if runtime not in RUNTIMES:
        raise BranchworkError(
            Problem(
                where="--runtime",
                rule="a runtime is one of those that there are",
                got=repr(runtime),
                do=did_you_mean(runtime, RUNTIMES),
            )
        )
    _check_suffix(out)
    (found,) = find_networks([network], task=task, changes=changes, store=store)
    size = input_of(input_, found.task)
    check_image_size("input", size, found.spec.coarsest_stride)
    conditions = Conditions(size=size, threads=threads)
    RUNTIMES[runtime].check(conditions)
    say(f"measuring this machine with {threads} {'thread' if threads == 1 else 'threads'}")
    peaks = measure_peaks(runtime, threads)
    say(f"measuring {found.name} in {runtime}")
    subject = Subject(
        name=found.name,
        module=random_module(found.spec),
        runtime=runtime,
        conditions=conditions,
        rewritten=rewrite,
    )
    measured = measure_latencies([subject], effort=THOROUGH, with_layers=True)
    if measured.is_interrupted:
        raise KeyboardInterrupt
    if measured.problems:
        raise BranchworkError(measured.problems)
    (one,) = measured.measured
    if not one.layer_times_ms:
        raise BranchworkError(
            Problem(
                where="--runtime",
                rule="a roofline needs a runtime that tells where time goes",
                got=repr(runtime),
                do="use eager, onnxruntime or openvino",
            )
        )
    ops = found.spec.operations(size)
    result = under_the_roof(ops, one.layer_times_ms, peaks, one.latency.kernels)
    title = (
        f"{found.name}{' rewritten' if rewrite else ''}, {size}, {one.latency.version}, "
        f"{threads} {'thread' if threads == 1 else 'threads'}, batch 1, float32, "
        f"median {one.latency.p50_ms:.2f} ms ({one.latency.verdict})"
    )
    if out is not None:
        draw_roofline(result, title, out)
        say(f"wrote {out}")
    if as_json:
        print_json(_as_data(result, title))
    else:
        _print(result, title)


def _check_suffix(out: Path | None) -> None:
    from blocks import BranchworkError, Problem

    if out is not None and out.suffix not in {".svg", ".png", ".pdf"}:
        raise BranchworkError(
            Problem(
                where="--out",
                rule="a picture is written as .svg, .png or .pdf",
                got=repr(str(out)),
                do=f"write {out.with_suffix('.svg')}",
            )
        )


def _as_data(found: Roofline, title: str) -> dict[str, Any]:
    import dataclasses

    return {
        "title": title,
        "peaks": dataclasses.asdict(found.peaks),
        "total_ms": found.total_ms,
        "unplaced_ms": found.unplaced_ms,
        "least_ms": found.least_ms,
        "shares": found.shares,
        "layers": [
            {
                **dataclasses.asdict(layer),
                "bound": layer.bound,
                "limit": layer.limit,
                "macs_per_byte": layer.intensity,
                "macs_per_s": layer.macs_per_s,
                "achieved": layer.achieved,
            }
            for layer in found.layers
        ],
    }


def _print(found: Roofline, title: str) -> None:
    from cli.output import out, table

    peaks = found.peaks
    shown = table("layer", "M MACs", "KiB moved", "MACs/byte", "ms", "G MAC/s", "limit", "reached")
    for layer in sorted(found.layers, key=lambda each: -each.time_ms):
        shown.add_row(
            layer.address,
            f"{layer.macs / 1e6:.2f}",
            f"{layer.bytes_moved / 1024:,.0f}",
            f"{layer.intensity:.1f}",
            f"{layer.time_ms:.3f}",
            f"{layer.macs_per_s / 1e9:.1f}",
            layer.limit,
            f"{layer.achieved:.0%}",
        )
    out().print(shown)
    lines = (
        "",
        title,
        (
            f"at best: {peaks.macs_per_s / 1e9:.0f} G MAC/s, "
            f"{peaks.cache_bytes_per_s / 1e9:.0f} GB/s in the caches, "
            f"{peaks.memory_bytes_per_s / 1e9:.0f} GB/s in memory, "
            f"{peaks.launch_s * 1e6:.1f} microseconds a call"
        ),
        *found.sentences,
    )
    for line in lines:
        out().print(line, markup=False)
