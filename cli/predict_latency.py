"""``branchwork predict-latency``: how long networks will take, without running them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.calibrate import check_runtime
from cli.options import AsJson, Blocks, Changes, Input, Networks, Runs, Task, open_store


def predict_latency(
    networks: Networks,
    input_: Input = None,
    task: Task = None,
    runtime: Annotated[
        str,
        typer.Option("--runtime", metavar="NAME", help="eager, onnxruntime or openvino."),
    ] = "onnxruntime",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads it may use.")] = 1,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="What 'branchwork calibrate' wrote [default: this machine's, for the runtime and "
            "threads].",
        ),
    ] = None,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Predict how long networks take, from a calibration, without running them.

    Networks are taken as they are written, not rewritten for deployment; batch 1, float32.
    What is predicted is a fast pass on a quiet machine, the min_ms of 'branchwork latency'.

    Example:

        branchwork predict-latency lite_hrnet_18 naive_lite_hrnet_18 --runtime onnxruntime
    """
    store = open_store(runs, blocks)
    check_runtime(runtime)
    from analysis.calibration_files import default_path, read_calibration
    from cli.calibrate import summary
    from cli.networks import find_networks, input_of
    from cli.output import out, print_json, say, table
    from networks import spec_id

    known = read_calibration(calibration or default_path(runs, runtime, threads))
    rows = []
    for each in find_networks(networks, task=task, changes=changes, store=store):
        size = input_of(input_, each.task)
        found = known.predict(each.spec, size)
        rows.append(
            {
                "network": each.name,
                "spec_id": spec_id(each.spec),
                "input": str(size),
                "runtime": known.runtime,
                "threads": known.threads,
                "predicted_ms": found.time_ms,
                "low_ms": found.low_ms,
                "high_ms": found.high_ms,
                "unknown": list(found.unknown),
            }
        )
        if found.unknown:
            say(
                f"{each.name}: no network of the calibration has {', '.join(found.unknown)}, so "
                "its time is guessed rather than predicted"
            )
    if as_json:
        print_json({"calibration": summary(known), "predictions": rows})
        return
    shown = table("network", "input", "predicted ms", "eight of ten between", left=1)
    for row in rows:
        shown.add_row(
            str(row["network"]),
            str(row["input"]),
            f"{row['predicted_ms']:.2f}",
            f"{row['low_ms']:.2f} and {row['high_ms']:.2f}",
        )
    out().print(shown)
    errors = known.errors
    out().print(
        f"\npredicted, not measured: {known.version}, {known.threads} threads, on {known.machine}, "
        f"from {len(known.samples)} networks; of networks not seen {errors.within:.0%} came "
        "within 10 %",
        markup=False,
        soft_wrap=True,
    )
