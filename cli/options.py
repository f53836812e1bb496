"""Options that several verbs share, and what they have in common to set up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.store import RunStore

DEFAULT_TASK = "coco_keypoints"

Runs = Annotated[
    Path,
    typer.Option("--runs", envvar="BRANCHWORK_RUNS", help="Folder of all results (the run store)."),
]
Blocks = Annotated[
    list[Path] | None,
    typer.Option(
        "--blocks",
        envvar="BRANCHWORK_BLOCKS",
        help="Folder with block files of your own; may be given several times.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Networks = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK...",
        help="Presets, spec files (.json), or spec_ids that the run store holds.",
        show_default=False,
    ),
]
OneNetwork = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A preset, a spec file (.json), or a spec_id that the run store holds.",
        show_default=False,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="The task that sets the number of outputs "
        f"[default: {DEFAULT_TASK}; for a spec_id, its record's].",
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="HxW",
        help="Image size, height first, such as 256x192 [default: the task's usual one].",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="ADDRESS=VALUE",
        help="Change the network: block=naive_lite_hrnet, branches=3, widths=[30,60,120,240], "
        "stages.0.units.0.fusion=sum; may be given several times.",
    ),
]


def open_store(runs: Path, blocks: list[Path] | None) -> RunStore:
    """Loads the user's blocks and returns the run store.

    Raises:
        BranchworkError: If a block folder or a file in it cannot be used.
    """
    load_blocks(blocks)
    from analysis.store import RunStore

    return RunStore(runs)


def load_blocks(blocks: list[Path] | None) -> tuple[Path, ...]:
    """Loads the user's blocks and returns their folders.

    Raises:
        BranchworkError: If a block folder or a file in it cannot be used.
    """
    from blocks import load_block_folder

    folders = tuple(blocks or ())
    for folder in folders:
        load_block_folder(folder)
    return folders
