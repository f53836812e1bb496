"""``branchwork calibrate``: learns how long networks take in a runtime on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Runs, load_blocks

if TYPE_CHECKING:
    from analysis.calibrations import Calibration, Errors


def calibrate(
    runtime: Annotated[
        str,
        typer.Option("--runtime", metavar="NAME", help="eager, onnxruntime or openvino."),
    ] = "onnxruntime",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads it may use.")] = 1,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            min=0.1,
            help="How long to measure; the first sixteen networks in any case.",
        ),
    ] = 10.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The calibration's file "
            "[default: RUNS/calibrations/MACHINE_RUNTIME_THREADS.json].",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FOLDER",
            help="Measure nothing here: write a folder to measure on another device.",
        ),
    ] = None,
    num_networks: Annotated[
        int, typer.Option("--networks", min=10, help="Networks to export.")
    ] = 150,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import", metavar="TABLE", help="Measure nothing: take what another device measured."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which random networks are measured.")] = 0,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Learn how long networks take in a runtime on this machine, or on another device.

    Random networks of all registered parts are measured, whole and kernel by kernel. What is
    learned from them predicts others within milliseconds: 'branchwork predict-latency', and
    studies with the objective or limit predicted.RUNTIME.

    Example:

        branchwork calibrate --runtime onnxruntime --threads 1
    """
    load_blocks(blocks)
    if export is not None and import_ is not None:
        raise _two_at_once()
    if export is not None:
        _export(export, num_networks, seed, as_json=as_json)
        return
    if import_ is not None:
        from analysis.calibration_devices import import_table

        calibration = import_table(import_)
    else:
        calibration = _measured(runtime, threads, minutes, seed)
    _keep(calibration, out, runs, as_json=as_json)


def check_runtime(name: str) -> None:
    """Checks that latencies can be predicted in a runtime.

    Raises:
        BranchworkError: If not.
    """
    from analysis.objectives import PREDICTED_RUNTIMES
    from blocks import BranchworkError, Problem, did_you_mean

    if name not in PREDICTED_RUNTIMES:
        raise BranchworkError(
            Problem(
                where="--runtime",
                rule=f"latencies are predicted in {', '.join(PREDICTED_RUNTIMES)}",
                got=repr(name),
                do=did_you_mean(name, PREDICTED_RUNTIMES),
            )
        )


def _measured(runtime: str, threads: int, minutes: float, seed: int) -> Calibration:
    check_runtime(runtime)
    from analysis.calibrating import calibrate as measure
    from analysis.calibrations import FEWEST_NETWORKS
    from cli.progress import progress

    with progress(minutes, "calibrating, minute") as reporter:
        try:
            return measure(
                runtime,
                threads=threads,
                minutes=minutes,
                seed=seed,
                on_progress=lambda done, text: reporter.update(done * minutes, text),
            )
        except KeyboardInterrupt:
            reporter.note(
                f"stopped before {FEWEST_NETWORKS} networks were measured; nothing is written"
            )
            raise


def _export(folder: Path, num_networks: int, seed: int, *, as_json: bool) -> None:
    from analysis.calibration_devices import COPIED_SCRIPT, export_calibration
    from cli.output import out, print_json
    from cli.progress import progress

    with progress(num_networks, "exporting") as reporter:
        num_bytes = export_calibration(
            folder, num_networks=num_networks, seed=seed, on_progress=reporter.update
        )
    if as_json:
        print_json({"folder": str(folder), "networks": num_networks, "bytes": num_bytes})
        return
    out().print(
        f"wrote {num_networks} networks ({num_bytes / 1e6:.0f} MB) into {folder}\n"
        f"copy it to the device, run there: python {COPIED_SCRIPT} --runtime onnxruntime\n"
        "and bring its table back: branchwork calibrate --import table.json",
        markup=False,
        soft_wrap=True,
    )


def _keep(calibration: Calibration, path: Path | None, runs: Path, *, as_json: bool) -> None:
    from analysis.calibration_files import default_path, write_calibration
    from cli.output import out, print_json

    file = path or default_path(runs, calibration.runtime, calibration.threads, calibration.machine)
    write_calibration(calibration, file)
    if as_json:
        print_json({"file": str(file), **summary(calibration)})
        return
    out().print(
        f"wrote {file}: {len(calibration.samples)} networks in {calibration.version}, "
        f"{calibration.threads} threads, on {calibration.machine}\n"
        f"prediction of networks not seen: {_in_words(calibration.errors)}\n"
        f"a second measurement of the same: {_in_words(calibration.noise)}",
        markup=False,
        soft_wrap=True,
    )


def summary(calibration: Calibration) -> dict[str, Any]:
    """Returns what is known of a calibration, without its measurements."""
    known = {key: value for key, value in calibration.data.items() if key != "samples"}
    return {
        **known,
        "num_networks": len(calibration.samples),
        "fingerprint": calibration.fingerprint,
        "errors": vars(calibration.errors),
        "noise": vars(calibration.noise),
    }


def _in_words(errors: Errors) -> str:
    return (
        f"{errors.within:.0%} within 10 %, median error {errors.median:.1%}, nine of ten within "
        f"{errors.p90:.0%}, Kendall's tau {errors.tau:.2f}"
    )


def _two_at_once() -> Exception:
    from blocks import BranchworkError, Problem

    return BranchworkError(
        Problem(
            where="--export, --import",
            rule="a device's table is imported after the folder was exported and measured there",
            got="both at once",
            do="give one of them",
        )
    )
