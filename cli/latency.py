"""``branchwork latency``: how long one forward pass takes on this machine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import AsJson, Blocks, Changes, Input, Networks, Runs, Task, open_store


def latency(
    networks: Networks,
    input_: Input = None,
    task: Task = None,
    runtime: Annotated[str, typer.Option("--runtime", help="What executes the network.")] = "eager",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads it may use.")] = 1,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Measure the median latency of networks with random weights: batch 1, float32, warm.

    Close other programs first: a latency that was disturbed is marked so.

    Example:

        branchwork latency lite_hrnet_18 naive_lite_hrnet_18 --input 256x192 --threads 1
    """
    store = open_store(runs, blocks)
    from analysis.environment import current_environment
    from cli.networks import find_networks, input_of
    from cli.output import out, print_json, say, table

    _check_runtime(runtime)
    found = find_networks(networks, task=task, changes=changes, store=store)
    rows: list[dict[str, Any]] = []
    for each in found:
        say(f"measuring {each.name}")
        rows.append(_measured(each.name, each.spec, input_of(input_, each.task), runtime, threads))
    if as_json:
        print_json(rows)
        return
    shown = table("network", "input", "median ms", "p90 ms", "min ms", "runs", "verdict")
    for row in rows:
        shown.add_row(
            row["network"],
            row["input"],
            *(f"{row[key]:.2f}" for key in ("p50_ms", "p90_ms", "min_ms")),
            str(row["num_runs"]),
            row["verdict"],
        )
    out().print(shown)
    machine = current_environment()
    noun = "thread" if threads == 1 else "threads"
    out().print(
        f"\n{runtime}, {threads} {noun}, batch 1, float32, on {machine.cpu} "
        f"({machine.num_cores} cores), torch {machine.packages['torch']}",
        markup=False,
    )


def _check_runtime(name: str) -> None:
    from analysis.latency import RUNTIMES
    from blocks import BranchworkError, Problem, did_you_mean

    if name not in RUNTIMES:
        raise BranchworkError(
            Problem(
                where="--runtime",
                rule="a runtime is one that can measure here",
                got=repr(name),
                do=did_you_mean(name, RUNTIMES),
            )
        )


def _measured(name: str, spec: Any, size: Any, runtime: str, threads: int) -> dict[str, Any]:  # noqa: ANN401 - imported late
    from analysis.latency import measure_latency
    from blocks import check_image_size
    from networks import spec_id

    check_image_size(f"{name}: input", size, spec.coarsest_stride)
    measured = dataclasses.asdict(measure_latency(spec, size, runtime=runtime, threads=threads))
    return {"network": name, "spec_id": spec_id(spec), **measured, "input": str(size)}
