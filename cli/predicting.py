"""Runs a trained network over images of one's own, for ``branchwork predict``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from analysis.store import RunStore
from blocks import BranchworkError, DataError, ImageSize, Problem
from cli.checkpoints import load_trained
from cli.evaluating import check_fit, device_of
from cli.networks import find_networks, input_of
from cli.output import say
from cli.pictures import find_pictures
from cli.progress import progress
from networks import spec_id
from tasks import Picture, Task, collate, encode_picture

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class PictureRun:
    """What is to be shown to what.

    Attributes:
        task_name: The task's registered name.
        task: The task with its options.
        network: What the checkpoint is of, None if it says so itself.
        changes: ``ADDRESS=VALUE`` texts that change the network.
        checkpoint: The trained weights.
        images: Files and folders.
        out: The folder to write to.
        input: The input size as the user wrote it, None for the checkpoint's or the task's.
        boxes: A file with people's boxes.
        box_score: Boxes of that file with a lower score are left out.
        box: Boxes as the user wrote them, for every image.
        batch: People at once.
        accelerator: ``auto``, ``cpu`` or ``cuda``.
    """

    task_name: str
    task: Task
    network: str | None
    changes: tuple[str, ...]
    checkpoint: Path
    images: tuple[Path, ...]
    out: Path
    input: str | None
    boxes: Path | None
    box_score: float
    box: tuple[str, ...]
    batch: int
    accelerator: str


def run_on_pictures(run: PictureRun, store: RunStore) -> dict[str, Any]:
    """Writes overlays and predictions, and returns what was done as plain data.

    Images that cannot be read are named and left out.

    Raises:
        BranchworkError: If nothing can be read, or if the checkpoint, the boxes, the folder or an
            option cannot be used.
    """
    device = device_of(run.accelerator)
    pictures = find_pictures(
        run.images,
        boxes_file=run.boxes,
        least_score=run.box_score,
        boxes=run.box,
        boxed=run.task.boxed,
    )
    overlays = [_overlay_path(run.out, picture) for picture in pictures]
    _check_out(run.out, pictures, overlays)
    named = None
    if run.network is not None:
        named = find_networks(
            [run.network], task=run.task_name, changes=[*run.changes], store=store
        )[0]
    elif run.changes:
        raise BranchworkError(
            Problem(
                where="--set",
                rule="a network that is named can be changed",
                got="the checkpoint's own (-)",
                do="name the network",
            )
        )
    trained = load_trained(run.checkpoint, named, run.task.num_outputs)
    size = trained.input if run.input is None else None
    size = size or input_of(run.input, run.task_name)
    check_fit(trained, run.task, size)
    if run.task.boxed and pictures[0].boxes is None:
        say("no boxes are given (--box, --boxes): every image is taken for one person's box")
    say(f"running {trained.name} on {len(pictures):,} images at {size}")
    module = trained.module.to(device)
    shown: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    skipped: list[DataError] = []
    with progress(len(pictures), "image") as reporter:
        for number, (picture, path) in enumerate(zip(pictures, overlays, strict=True), start=1):
            try:
                pixels = picture.file.read()
                predictions = _predict(run.task, module, picture, size, run.batch, device)
            except DataError as error:
                skipped.append(error)
                reporter.note(f"left out: {error}")
                continue
            path.write_bytes(encode_picture(run.task.overlay(pixels, predictions), path.suffix))
            kept = run.task.keep(picture, predictions, run.out)
            entries += kept
            shown.append(
                {
                    "image": str(picture.file.path),
                    "overlay": str(path),
                    "num_predictions": len(kept),
                }
            )
            reporter.update(number, "")
    if not shown:
        raise DataError([problem for error in skipped[:_NUM_NAMED] for problem in error.problems])
    return {
        "task": run.task_name,
        "network": trained.name,
        "spec_id": spec_id(trained.spec),
        "checkpoint": str(run.checkpoint),
        "input": str(size),
        "evaluation": run.task.evaluation(),
        "out": str(run.out),
        "predictions_file": str(_write_entries(run.out, entries)),
        "legend": _write_legend(run.task, run.out),
        "images": shown,
        "skipped": [str(error) for error in skipped],
        "predictions": entries,
    }


def _predict(
    task: Task,
    module: torch.nn.Module,
    picture: Picture,
    size: ImageSize,
    batch: int,
    device: torch.device,
) -> list[dict[str, Any]]:
    if picture.boxes == ():
        return []
    data = task.open_pictures([picture], size)
    predictions: list[dict[str, Any]] = []
    for start in range(0, len(data), batch):
        indices = range(start, min(start + batch, len(data)))
        items = collate([data.eval_item(index) for index in indices])
        predictions.extend(task.predict(module, items.to(device)))
    return predictions


def _overlay_path(out: Path, picture: Picture) -> Path:
    is_jpeg = picture.file.path.suffix.lower() in _JPEG_SUFFIXES
    return out / f"{picture.name}{'.jpg' if is_jpeg else '.png'}"


def _check_out(out: Path, pictures: Sequence[Picture], overlays: Sequence[Path]) -> None:
    """Makes the folder, and checks that no overlay would replace an image.

    Raises:
        BranchworkError: If it cannot be had, or if one would.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BranchworkError(
            Problem(
                where=str(out),
                rule="--out is a folder that can be written to",
                got="a file" if out.is_file() else str(error.strerror),
                do="name another folder",
            )
        ) from None
    images = {picture.file.path.resolve() for picture in pictures}
    lost = [path for path in overlays if path.resolve() in images]
    if lost:
        raise BranchworkError(
            Problem(
                where=str(out),
                rule="overlays do not replace the images",
                got=f"a folder in which {lost[0].name} is one of them",
                do="name another folder with --out",
            )
        )


def _write_entries(out: Path, entries: list[dict[str, Any]]) -> Path:
    path = out / "predictions.json"
    path.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return path


def _write_legend(task: Task, out: Path) -> str | None:
    legend = task.legend()
    if legend is None:
        return None
    path = out / "legend" / "classes.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_picture(legend, path.suffix))
    return str(path)
