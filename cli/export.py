"""``branchwork export``: networks as files for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Changes, Input, Runs, Task, open_store

if TYPE_CHECKING:
    from blocks import BranchworkError


def export(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Presets, spec files (.json), or spec_ids that the run store holds; - for what "
            "the checkpoint of a run of ours says itself.",
            show_default=False,
        ),
    ],
    to: Annotated[str, typer.Option("--to", help="The form of the file: onnx.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE|FOLDER",
            help="A file that ends in .onnx, or a folder [default: NETWORK_INPUT.onnx here]. A "
            "file that is there is replaced.",
        ),
    ] = None,
    input_: Input = None,
    task: Task = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at once.")] = 1,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="Trained weights: RUN/last.ckpt, or a .pth file of the published Lite-HRNet "
            "code [default: random weights].",
        ),
    ] = None,
    rewrite: Annotated[
        bool,
        typer.Option(
            "--rewrite/--no-rewrite",
            help="Write what computes the same in fewer steps, not the network as its spec says.",
        ),
    ] = False,
    blocked: Annotated[
        bool,
        typer.Option(
            "--blocked/--no-blocked",
            help="With --rewrite: for a runtime that keeps channels in blocks, as ONNX Runtime "
            "does on CPUs; OpenVINO is quicker without.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of random weights.")] = 0,
    changes: Changes = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Write networks as ONNX files for one image size, with names that a viewer can show.

    All sizes are fixed, and the numbers are float32. Where ONNX Runtime is installed, the file is
    run on a random image first: one whose outputs are not the network's is not kept. The file
    holds the spec, its spec_id and where the weights come from.

    Examples:

        branchwork export lite_hrnet_18 --to onnx --input 256x192

        branchwork export lite_hrnet_18 --checkpoint litehrnet_18_coco.pth --out pose.onnx

        branchwork export lite_hrnet_18 hrnet_w32 --to onnx --out files --batch 8 --json
    """
    if blocked and not rewrite:
        raise _blocked_alone()
    store = open_store(runs, blocks)
    from cli.exporting import ExportJob, export_networks
    from cli.output import out as console
    from cli.output import print_json, table

    job = ExportJob(
        networks=tuple(networks),
        to=to,
        out=out,
        input=input_,
        task=task,
        batch=batch,
        checkpoint=checkpoint,
        rewrite=rewrite,
        blocked=blocked,
        seed=seed,
        changes=tuple(changes or ()),
    )
    rows, error = export_networks(job, store)
    if as_json:
        print_json(rows)
    elif rows:
        shown = table(
            "network", "file", "bytes", "nodes", "opset", "max |diff|", "of max |y|", left=2
        )
        for row in rows:
            shown.add_row(
                row["network"],
                row["file"],
                f"{row['size_bytes']:,}",
                f"{row['num_nodes']:,}",
                str(row["opset"]),
                *_written(row["max_abs_diff"], row["max_share"]),
            )
        console().print(shown)
        console().print(f"\nfloat32, {rows[0]['weights']}; {_checked(rows)}", markup=False)
    if error is not None:
        raise error


def _written(*numbers: float | None) -> list[str]:
    return ["not checked" if number is None else f"{number:.1e}" for number in numbers]


def _checked(rows: list[dict[str, Any]]) -> str:
    runtime = rows[0]["checked_in"]
    if runtime is None:
        return 'not run: pip install "branchwork[export]", and files are checked'
    return f"differences to PyTorch for a random image, in {runtime}"


def _blocked_alone() -> BranchworkError:
    from blocks import BranchworkError, Problem

    return BranchworkError(
        Problem(
            where="--blocked",
            rule="only what is rewritten is written for channels in blocks",
            got="--blocked without --rewrite",
            do="add --rewrite, or leave --blocked out",
        )
    )
