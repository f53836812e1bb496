"""``branchwork latency``: how long one forward pass takes on this machine."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Changes, Input, Networks, Runs, Task, open_store

if TYPE_CHECKING:
    from analysis.latency import Measured, Measurements, Subject
    from blocks import Problem
    from cli.networks import NamedNetwork

_ERROR = 2


def latency(
    networks: Networks,
    input_: Input = None,
    task: Task = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            metavar="NAMES",
            help="What executes the network, one or several with commas: eager, compile, "
            "onnxruntime, openvino, cuda, cuda_compile, cuda_graphs.",
        ),
    ] = "eager",
    batch: Annotated[
        str, typer.Option("--batch", metavar="COUNTS", help="Images a pass, such as 1,8.")
    ] = "1",
    threads: Annotated[
        str, typer.Option("--threads", metavar="COUNTS", help="Threads it may use, such as 1,2.")
    ] = "1",
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype", metavar="NAMES", help="Number formats: float32, bfloat16, float16."
        ),
    ] = "float32",
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite/--no-rewrite",
            help="Rewrite the network for deployment first: same outputs, fewer operators.",
        ),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Say where time goes, where the runtime tells.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit with 2 if anything disturbed a measurement."),
    ] = False,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Measure how long networks with random weights take, side by side.

    Every network runs in every runtime, with every batch, number of threads and number format.
    All are warmed, take turns, and are compared with the first, with a 95 % interval. Outputs are
    checked against eager float32 before. What cannot be measured is said, and the rest measured.

    Close other programs first: a latency that was disturbed is marked so.

    Example:

        branchwork latency lite_hrnet_18 naive_lite_hrnet_18 --runtime eager,openvino
    """
    store = open_store(runs, blocks)
    from analysis.latency import RUNTIMES, THOROUGH, measure_latencies
    from analysis.runtimes import DTYPES
    from cli.networks import find_networks
    from cli.output import print_json
    from cli.progress import progress

    settings = list(
        itertools.product(
            _names("--runtime", runtime, RUNTIMES),
            _counts("--batch", batch),
            _counts("--threads", threads),
            _names("--dtype", dtype, DTYPES),
        )
    )
    found = find_networks(networks, task=task, changes=changes, store=store)
    subjects, problems = _subjects(found, input_, settings, rewritten=rewrite)
    for problem in problems:
        _say_problem(problem)
    with progress(2 * len(subjects), "measuring") as reporter:
        measurements = measure_latencies(
            subjects, effort=THOROUGH, with_layers=layers, on_progress=reporter.update
        )
    for problem in measurements.problems:
        _say_problem(problem)
    specs = {each.name: each.spec for each in found}
    if as_json:
        print_json([_row(each, specs, with_layers=layers) for each in measurements.measured])
    else:
        _print(measurements, with_layers=layers)
    _exit(measurements, is_incomplete=bool(problems), is_strict=strict)


def _exit(measurements: Measurements, *, is_incomplete: bool, is_strict: bool) -> None:
    from cli.output import say

    if measurements.is_interrupted:
        say("stopped; what was measured by then is printed")
        raise KeyboardInterrupt
    disturbed = [each for each in measurements.measured if each.latency.verdict != "quiet"]
    is_wrong = any(not each.is_right for each in disturbed)
    if is_strict:
        for each in disturbed:
            say(f"disturbed: {each.subject.label}: {each.latency.verdict}")
    if is_incomplete or measurements.problems or is_wrong or (is_strict and disturbed):
        raise typer.Exit(_ERROR)


def _subjects(
    found: list[NamedNetwork],
    size: str | None,
    settings: list[tuple[str, int, int, str]],
    *,
    rewritten: bool,
) -> tuple[list[Subject], list[Problem]]:
    """Returns what is measured, and why some networks are not."""
    from analysis.latency import Subject, random_module
    from analysis.runtimes import Conditions
    from blocks import BranchworkError, check_image_size
    from cli.networks import input_of

    subjects: list[Subject] = []
    problems: list[Problem] = []
    for each in found:
        image = input_of(size, each.task)
        try:
            check_image_size(f"{each.name}: input", image, each.spec.coarsest_stride)
        except BranchworkError as error:
            problems += error.problems
            continue
        module = random_module(each.spec)
        subjects += [
            Subject(
                name=each.name,
                module=module,
                runtime=runtime,
                conditions=Conditions(size=image, batch=batch, threads=threads, dtype=dtype),
                rewritten=rewritten,
            )
            for runtime, batch, threads, dtype in settings
        ]
    return subjects, problems


def _names(option: str, text: str, known: Any) -> list[str]:  # noqa: ANN401 - any table of names
    from blocks import BranchworkError, Problem, did_you_mean

    names = list(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BranchworkError(
            [
                Problem(
                    where=option,
                    rule="it takes names that are known, with commas between them",
                    got=repr(name),
                    do=did_you_mean(name, known),
                )
                for name in unknown
            ]
        )
    return names


def _counts(option: str, text: str) -> list[int]:
    from blocks import BranchworkError, Problem

    parts = list(dict.fromkeys(text.split(",")))
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise BranchworkError(
            Problem(
                where=option,
                rule="it takes whole numbers above 0, with commas between them",
                got=repr(text),
                do=f"write {option} 1 or {option} 1,2",
            )
        )
    return [int(part) for part in parts]


def _say_problem(problem: Problem) -> None:
    from cli.output import err

    err().print(f"error: {problem}", markup=False, soft_wrap=True)


_FIRST_KEYS = (
    *("network", "spec_id", "input", "runtime", "threads", "batch", "dtype", "rewritten"),
    *("num_runs", "min_ms", "p50_ms", "p90_ms", "p99_ms", "cv", "max_abs_diff", "kernels"),
    "verdict",
)


def _row(each: Measured, specs: dict[str, Any], *, with_layers: bool) -> dict[str, Any]:
    from analysis.environment import current_environment
    from networks import spec_id

    name = each.subject.name
    known = {
        **dataclasses.asdict(each.latency),
        "network": name,
        "spec_id": spec_id(specs[name]),
        "input": str(each.latency.input),
    }
    row = {key: known[key] for key in _FIRST_KEYS}
    row |= {
        "version": each.latency.version,
        "ratio": each.ratio and dataclasses.asdict(each.ratio),
        "environment": dataclasses.asdict(current_environment()),
    }
    if with_layers:
        row["layers"] = _layers_ms(each)
    return row


def _layers_ms(each: Measured) -> dict[str, float] | None:
    """Returns the time of each registered layer, by the spec's addresses."""
    from analysis.cost import layer_address

    if each.layer_times_ms is None:
        return None
    sums: dict[str, float] = {}
    for address, time_ms in each.layer_times_ms.items():
        layer = layer_address(address)
        sums[layer] = sums.get(layer, 0.0) + time_ms
    if "" in sums:
        sums[""] = sums.pop("")
    return sums


def _print(measurements: Measurements, *, with_layers: bool) -> None:
    from analysis.environment import current_environment
    from cli.output import out, table

    if not measurements.measured:
        return
    shown = table(
        *("network", "runtime", "input", "threads", "batch", "dtype"),
        *("median ms", "p90 ms", "min ms", "of the first (95 %)", "runs", "operators", "verdict"),
        left=2,
    )
    for each in measurements.measured:
        latency = each.latency
        shown.add_row(
            each.subject.name,
            latency.runtime,
            str(latency.input),
            str(latency.threads),
            str(latency.batch),
            latency.dtype,
            *(f"{ms:.2f}" for ms in (latency.p50_ms, latency.p90_ms, latency.min_ms)),
            _ratio(each),
            str(latency.num_runs),
            "-" if latency.kernels is None else f"{latency.kernels:,}",
            latency.verdict,
        )
    out().print(shown)
    if with_layers:
        for each in measurements.measured:
            _print_layers(each)
    machine = current_environment()
    versions = dict.fromkeys(each.latency.version for each in measurements.measured)
    rewritten = any(each.latency.rewritten for each in measurements.measured)
    out().print(
        f"\n{'rewritten for deployment, ' if rewritten else ''}random weights, on {machine.cpu} "
        f"({machine.num_cores} cores), {', '.join(versions)}",
        markup=False,
    )


def _ratio(each: Measured) -> str:
    if each.ratio is None:
        return "-"
    return f"{each.ratio.value:.2f} ({each.ratio.low:.2f} to {each.ratio.high:.2f})"


def _print_layers(each: Measured) -> None:
    from cli.output import out, say, table

    layers_ms = _layers_ms(each)
    if layers_ms is None:
        say(f"{each.subject.label}: the runtime does not say how long layers take")
        return
    whole_ms = sum(layers_ms.values())
    out().print(f"\n{each.subject.label}", markup=False)
    shown = table("layer", "ms", "share")
    for address, time_ms in layers_ms.items():
        shown.add_row(address or "(no layer)", f"{time_ms:.3f}", f"{time_ms / whole_ms:.1%}")
    out().print(shown)
