"""``branchwork atlas``: what all networks of a space cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Runs, open_store

if TYPE_CHECKING:
    from analysis.atlas import Atlas
    from analysis.store import RunStore
    from search import Study

_MAX_SAMPLES = 1_000_000
_MAX_SHOWN = 20


def atlas(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study file, or a study in the run store.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Parquet file [default: NAME_atlas.parquet]."),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Networks to draw from a larger space.")
    ] = _MAX_SAMPLES,
    whole: Annotated[
        bool, typer.Option("--all", help="Cost every network, however large the space.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Cost a whole space, or a million of its networks, and write Parquet with the cost front.

    Counts come from tables of the parts' closed forms, millions of networks a second, equal to
    `branchwork profile` to the last unit. On the cost front no other network within the study's
    limits has as many parameters for as few MACs.

    Examples:

        branchwork atlas configs/studies/atlas.toml

        branchwork atlas pose_widths --all --out pose_widths.parquet --json
    """
    store = open_store(runs, blocks)
    from analysis.atlas import write_atlas
    from cli.output import print_json
    from cli.progress import progress

    found = _study(study, store)
    draws = None if whole or found.space.size <= samples else samples
    path = out or Path(f"{found.name}_atlas.parquet")
    with progress(draws or found.space.size, "networks") as reporter:
        made = write_atlas(
            found.space,
            found.input,
            path,
            num_samples=draws,
            seed=seed,
            limits=_limits(found),
            on_rows=lambda done: reporter.update(done, ""),
        )
    data = _data(found, made)
    if as_json:
        print_json(data)
    else:
        _print(data)


def _study(text: str, store: RunStore) -> Study:
    from search import load_search, read_study

    if text in store.studies():
        return load_search(text, store)
    return read_study(Path(text), store=store)


def _limits(study: Study) -> dict[str, float]:
    """The study's limits on counts; latencies are not counted here."""
    from analysis import CONVENTIONS

    return {
        limit.objective.name: limit.largest
        for limit in study.limits
        if limit.objective.name in CONVENTIONS
    }


def _data(study: Study, atlas: Atlas) -> dict[str, Any]:
    from networks import spec_id

    space = study.space
    front = []
    for index, row in enumerate(atlas.front.tolist()):
        choices = {
            dimension.address: dimension.choices[choice]
            for dimension, choice in zip(space.dimensions, row, strict=True)
        }
        costs = {name: int(values[index]) for name, values in atlas.front_costs.items()}
        front.append({"spec_id": spec_id(space.spec(row)), "choices": choices, **costs})
    return {
        "study": study.name,
        "file": str(atlas.path),
        "input": str(study.input),
        "space_size": space.size,
        "num_rows": atlas.num_rows,
        "is_whole": atlas.is_whole,
        "num_invalid": atlas.num_invalid,
        "num_over_limits": atlas.num_over,
        "ranges": {
            name: {"min": low, "median": median, "max": high}
            for name, (low, median, high) in atlas.ranges.items()
        },
        "front": front,
    }


def _print(data: dict[str, Any]) -> None:
    from cli.output import out, table

    console = out()
    which = "all of them" if data["is_whole"] else "drawn at random"
    console.print(
        f"{data['study']}: {data['num_rows']:,} of {data['space_size']:,} rows ({which}) at "
        f"{data['input']}, {data['num_invalid']:,} of them no network, "
        f"{data['num_over_limits']:,} over the limits; written to {data['file']}",
        markup=False,
    )
    shown = table("convention", "smallest", "median", "largest", title="\nnetworks of the space")
    for name, values in data["ranges"].items():
        shown.add_row(name, *(f"{values[key]:,}" for key in ("min", "median", "max")))
    console.print(shown)
    shown = table(
        *("spec_id", "params", "macs", "choices"),
        title=f"\ncost front: most params for the fewest MACs, {len(data['front'])} networks",
    )
    for row in _spread(data["front"]):
        choices = ", ".join(f"{key}={value}" for key, value in row["choices"].items())
        shown.add_row(row["spec_id"], f"{row['params']:,}", f"{row['macs']:,}", choices)
    console.print(shown)
    if len(data["front"]) > _MAX_SHOWN:
        console.print(f"({_MAX_SHOWN} of them, evenly spread; --json has all)", markup=False)


def _spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) <= _MAX_SHOWN:
        return rows
    step = (len(rows) - 1) / (_MAX_SHOWN - 1)
    return [rows[round(index * step)] for index in range(_MAX_SHOWN)]
