"""``branchwork predict``: what a trained network sees in images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import AsJson, Blocks, Changes, Input, Runs, open_store

_NUM_LISTED = 20


def predict(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="What the checkpoint is of: a preset, a spec file or a spec_id; - for what a "
            "checkpoint of our own runs says itself.",
        ),
    ],
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="RUN/last.ckpt, or a .pth file of the published Lite-HRNet code.",
        ),
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Image files, or folders of them.")
    ],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="What the network was trained for [default: what the checkpoint says, else "
            "coco_keypoints].",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Where overlays and predictions.json go."),
    ] = Path("predictions"),
    input_: Input = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            metavar="FILE",
            help="People's boxes: an annotation file in COCO's form or a detector's results, "
            "found by file name.",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            metavar="X,Y,W,H",
            help="A person's box in every image, in pixels: left, top, width, height; may be "
            "given several times.",
        ),
    ] = None,
    box_score: Annotated[
        float, typer.Option("--box-score", help="Leave out boxes of --boxes that score lower.")
    ] = 0.3,
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip", help="Average over the mirror image [default: as the task does]."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="Another option of the task, such as decoding=dark; may be given several times.",
        ),
    ] = None,
    changes: Changes = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="People at once.")] = 32,
    accelerator: Annotated[str, typer.Option("--accelerator", help="auto, cpu or cuda.")] = "auto",
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Show what a trained network sees in images: overlays, and predictions as JSON.

    For every image DIR/NAME.jpg (.png for images that are no JPEG) of the image's own size:
    skeletons (a person's left blue, right orange, unsure key points faint), or the classes'
    colours. DIR/predictions.json holds people in COCO's results form with their image's name; of
    label images, the names in DIR/labels.

    Key points need people's boxes: --boxes, --box, or else every image is taken for one person
    who fills it.

    Examples:

        branchwork predict lite_hrnet_18 litehrnet_18_coco.pth photos --box 40,20,180,400

        branchwork predict - out/last.ckpt photos/*.jpg --boxes people.json --out seen

        branchwork predict - out/last.ckpt streets --option inference=whole
    """
    store = open_store(runs, blocks)
    from cli.checkpoints import task_of
    from cli.options import DEFAULT_TASK
    from cli.predicting import PictureRun, run_on_pictures
    from cli.settings import read_pairs
    from tasks import find_task, make_task

    name = task or task_of(checkpoint) or DEFAULT_TASK
    flipped = {} if flip is None else {"flip_test": flip}
    made = make_task(
        find_task(name), {**read_pairs(options or [], "--option"), **flipped}, "--option "
    )
    run = PictureRun(
        task_name=name,
        task=made,
        network=None if network == "-" else network,
        changes=tuple(changes or ()),
        checkpoint=checkpoint,
        images=tuple(images),
        out=out,
        input=input_,
        boxes=boxes,
        box_score=box_score,
        box=tuple(box or ()),
        batch=batch,
        accelerator=accelerator,
    )
    _show(run_on_pictures(run, store), as_json=as_json)


def _show(about: dict[str, Any], *, as_json: bool) -> None:
    from cli.output import out, print_json, table

    if as_json:
        print_json(about)
        return
    console = out()
    rows = table("image", "overlay", "predictions", left=2)
    for one in about["images"][:_NUM_LISTED]:
        rows.add_row(one["image"], one["overlay"], str(one["num_predictions"]))
    console.print(rows)
    more = len(about["images"]) - _NUM_LISTED
    if more > 0:
        console.print(f"and {more:,} more", markup=False)
    console.print(f"\n{about['predictions_file']}", markup=False)
