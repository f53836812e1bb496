"""``branchwork evaluate``: scores predictions from a file, or a network with its checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Input, Runs, open_store

if TYPE_CHECKING:
    from analysis.statistics import Interval
    from tasks import Diagnosis, ImageResults

_USUAL_NMS = 0.9
_PLOT_SUFFIXES = (".svg", ".pdf", ".png")


def evaluate(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="coco_keypoints, mpii_keypoints, cityscapes, ...")
    ],
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            help="The truth for --predictions: an annotation file, a .mat file, or a folder.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            help="Predictions made anywhere: COCO results (.json), joints (.npz, .npy, .mat), or a "
            "folder of label images.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            help="What --checkpoint is of: a preset, a spec file or a spec_id; our own runs' "
            "checkpoints say it themselves.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="RUN/last.ckpt, or a .pth file of the published Lite-HRNet code."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="BRANCHWORK_DATA", help="The data set's folder."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Which split [default: the task's own].")
    ] = None,
    input_: Input = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            "--boxes",
            metavar="FILE",
            help="A detector's boxes instead of the annotations', in COCO's results form; then "
            f"--nms is {_USUAL_NMS} unless you say otherwise.",
        ),
    ] = None,
    nms: Annotated[
        float | None,
        typer.Option(
            "--nms", help="Similarity (OKS) above which the weaker of two predictions goes."
        ),
    ] = None,
    no_flip: Annotated[
        bool, typer.Option("--no-flip", help="Do not average over the mirror image.")
    ] = False,
    decoding: Annotated[
        str | None, typer.Option("--decoding", help="quarter_offset or dark.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="Another option of the task, such as inference=sliding; may be given several "
            "times.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at once.")] = 32,
    accelerator: Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")] = "auto",
    save_predictions: Annotated[
        Path | None,
        typer.Option(
            "--save-predictions",
            metavar="OUT",
            help="Keep the network's predictions in a form that --predictions takes.",
        ),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            "--submission",
            metavar="OUT",
            help="Write the network's predictions as the benchmark's server takes them, and do "
            "not score them.",
        ),
    ] = None,
    errors: Annotated[
        bool,
        typer.Option(
            "--errors",
            help="Say what goes wrong: with every key point (jitter, inversion, swap, miss) or "
            "every class (IoU, accuracy, what it is taken for).",
        ),
    ] = False,
    errors_plot: Annotated[
        Path | None,
        typer.Option(
            "--errors-plot",
            metavar="FILE",
            help="Draw it, a bar for every key point or class (.svg, .pdf or .png).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resampling.")] = 0,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Score predictions by the benchmark's own rules, with a bootstrap interval over images.

    Either predictions from a file, made anywhere, or those of a network with its checkpoint. With
    --json, names and units are those of the field's evaluators: COCO's fractions, MPII's per cent.

    Examples:

        branchwork evaluate coco_keypoints --annotations gt.json --predictions results.json --json

        branchwork evaluate mpii_keypoints --annotations mpii --predictions pred.mat

        branchwork evaluate cityscapes --annotations cityscapes/gtFine/val --predictions labels
            --errors

        branchwork evaluate coco_keypoints --checkpoint out/last.ckpt --data coco --split val2017

        branchwork evaluate coco_keypoints --network lite_hrnet_18 --checkpoint litehrnet_18.pth
            --data coco --boxes COCO_val2017_detections_AP_H_56_person.json
    """
    store = open_store(runs, blocks)
    from cli.evaluating import NetworkRun, run_network
    from cli.settings import read_pairs
    from tasks import find_task, make_task

    task_class = find_task(task)
    _check_sources(
        {"--annotations": annotations, "--predictions": predictions},
        {
            "--checkpoint": checkpoint,
            "--network": network,
            "--data": data if checkpoint or network else None,
            "--split": split,
            "--input": input_,
            "--boxes": boxes,
            "--save-predictions": save_predictions,
            "--submission": submission,
        },
    )
    with_errors = errors or errors_plot is not None
    _check_errors(errors_plot, submission if with_errors else None)
    if boxes is not None and nms is None:
        nms = _USUAL_NMS
    named = {
        "boxes": boxes,
        "nms": nms,
        "decoding": decoding,
        "flip_test": False if no_flip else None,
    }
    made = make_task(
        task_class,
        {
            **read_pairs(options or [], "--option"),
            **{name: value for name, value in named.items() if value is not None},
        },
        "--option ",
    )
    if predictions is not None and annotations is not None:
        results = made.score_files(annotations, predictions)
        about = {"task": task, "annotations": str(annotations), "predictions": str(predictions)}
        found = made.diagnose_files(annotations, predictions, results) if with_errors else None
        _draw_errors(found, errors_plot)
        _show(results, found, about, seed, as_json=as_json)
        return
    assert checkpoint is not None
    run = NetworkRun(
        task_name=task,
        task=made,
        checkpoint=checkpoint,
        network=network,
        data=data,
        split=split,
        input=input_,
        batch=batch,
        accelerator=accelerator,
    )
    outcome = run_network(
        run,
        store,
        save_predictions=save_predictions,
        submission=submission,
        with_errors=with_errors,
    )
    _draw_errors(outcome.errors, errors_plot)
    if outcome.results is None:
        _show_written(outcome.about, as_json=as_json)
    else:
        _show(outcome.results, outcome.errors, outcome.about, seed, as_json=as_json)


def _check_sources(of_files: dict[str, Any], of_network: dict[str, Any]) -> None:
    """Checks that the user named either two files or a checkpoint.

    Raises:
        BranchworkError: If not.
    """
    from blocks import BranchworkError, Problem

    files = [name for name, value in of_files.items() if value is not None]
    network = [name for name, value in of_network.items() if value is not None]
    if (len(files) == len(of_files) and not network) or (
        not files and of_network["--checkpoint"] is not None
    ):
        return
    raise BranchworkError(
        Problem(
            where="evaluate",
            rule="either --annotations and --predictions are scored, or a --checkpoint",
            got=", ".join([*files, *network]) or "none of them",
            do="name two files, or a checkpoint and its --data",
        )
    )


def _check_errors(plot: Path | None, submission: Path | None) -> None:
    """Checks what is asked about errors before the work begins.

    Raises:
        BranchworkError: If the picture cannot have its name, or nothing is scored.
    """
    from blocks import BranchworkError, Problem

    if plot is not None and plot.suffix not in _PLOT_SUFFIXES:
        raise BranchworkError(
            Problem(
                where="--errors-plot",
                rule=f"a picture's name ends in {', '.join(_PLOT_SUFFIXES)}",
                got=repr(plot.name),
                do=f"write {plot.with_suffix('.svg').name}",
            )
        )
    if submission is not None:
        raise BranchworkError(
            Problem(
                where="--errors",
                rule="errors are seen where there are labels",
                got="--submission, which scores nothing",
                do="leave one of them out",
            )
        )


def _draw_errors(errors: Diagnosis | None, path: Path | None) -> None:
    if errors is None or path is None:
        return
    from analysis.figures import parts_figure, save_figure
    from cli.output import say

    say(f"errors drawn in {save_figure(parts_figure(errors.parts(), errors.convention), path)}")


def _show(
    results: ImageResults,
    errors: Diagnosis | None,
    about: dict[str, Any],
    seed: int,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from analysis.statistics import bootstrap
    from cli.output import print_json, say

    for note in results.notes:
        say(f"note: {note}")
    interval = bootstrap(results, seed=seed)
    if as_json:
        print_json(
            {
                **about,
                **results.report(),
                "num_images": results.num_images,
                "bootstrap": {
                    "metric": results.headline,
                    # Which some reports give in per cent.
                    "unit": "fraction",
                    **asdict(interval),
                    "seed": seed,
                },
                **({"notes": list(results.notes)} if results.notes else {}),
                **({"errors": errors.report()} if errors else {}),
            }
        )
        return
    _print(results, about, interval, seed)
    if errors is not None:
        _print_errors(errors)


def _print(results: ImageResults, about: dict[str, Any], interval: Interval, seed: int) -> None:
    from cli.output import out, table

    console = out()
    for name, value in about.items():
        if isinstance(value, str):
            console.print(f"{name}: {value}", markup=False)
    console.print(
        f"\n{results.headline} {interval.value:.4f} on {results.num_images:,} images, 95 % "
        f"bootstrap interval over images {interval.low:.4f} to {interval.high:.4f} "
        f"({interval.num_resamples:,} resamples, seed {seed})\n",
        markup=False,
    )
    rows = table("metric", "fraction, 0 to 1")
    for name, value in results.metrics.items():
        rows.add_row(name, "-" if math.isnan(value) else f"{value:.4f}")
    console.print(rows)


def _print_errors(errors: Diagnosis) -> None:
    from cli.output import out, table

    console = out()
    rows = table(*errors.columns)
    for row in errors.rows():
        rows.add_row(*(_written(cell) for cell in row))
    console.print("\nErrors, fractions from 0 to 1:", markup=False)
    console.print(rows)
    console.print(f"\n{errors.convention}", markup=False)


def _written(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    return "-" if math.isnan(cell) else f"{cell:.4f}"


def _show_written(about: dict[str, Any], *, as_json: bool) -> None:
    from cli.output import out, print_json

    if as_json:
        print_json(about)
    else:
        out().print(
            f"{about['num_predictions']:,} predictions; upload {about['submission']}", markup=False
        )
