"""``branchwork search``: starts, resumes and reports on Optuna searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, Blocks, Runs, load_blocks, open_store

if TYPE_CHECKING:
    from analysis.store import RunStore
    from search import Progress, Study

search_app = typer.Typer(
    name="search",
    help="Search over widths, branches, units, depth, blocks and fusions with Optuna.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Data = Annotated[
    Path | None,
    typer.Option("--data", envvar="BRANCHWORK_DATA", help="The data set's folder."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Networks that train at once, one thread each [default: one a core].",
    ),
]


@search_app.command()
def start(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.")],
    data: Data = None,
    workers: Workers = None,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Begin a new study; its results go to RUNS/NAME.

    Ctrl-C stops it, and no finished trial is ever lost: `branchwork search resume NAME` goes on.

    Example:

        branchwork search start configs/studies/coco_mini.toml --data ../coco
    """
    store = open_store(runs, blocks)
    from search import read_study, start_search

    study = read_study(study_file, store=store, data=data)
    start_search(study, store)
    run_and_print(study, store, workers, blocks)


@search_app.command()
def resume(
    name: Annotated[str, typer.Argument(help="The study's name.")],
    data: Data = None,
    workers: Workers = None,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Go on with a study that was stopped, however it was stopped.

    Example:

        branchwork search resume coco_mini
    """
    store = open_store(runs, blocks)
    from search import load_search

    run_and_print(load_search(name, store, data), store, workers, blocks)


@search_app.command()
def status(
    name: Annotated[str, typer.Argument(help="The study's name.")],
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Say how far a study is, what failed and why, and which networks are on its front.

    Example:

        branchwork search status coco_mini --json
    """
    store = open_store(runs, blocks)
    from cli.output import print_json
    from search import search_status

    state = search_status(name, store)
    if as_json:
        print_json(state)
    else:
        print_status(state)


def run_and_print(
    study: Study, store: RunStore, workers: int | None, blocks: list[Path] | None
) -> None:
    """Runs a search with progress, then prints its state."""
    from cli.output import say
    from cli.progress import progress
    from search import LocalEngine, default_workers, run_search, search_status

    folders = load_blocks(blocks)
    count = workers or default_workers(study)
    say(
        f"study {study.name}: {study.trials} networks out of a space of {study.space.size:,}, "
        f"{count} at once, results in {store.study_folder(study.name)}"
    )
    if study.strata is not None:
        say(_strata_text(study.strata.by, study.strata.edges))
    with progress(study.trials, "networks") as reporter:

        def report(state: Progress) -> None:
            if state.message:
                reporter.note(state.message)
            done = state.num_done + sum(state.running.values())
            reporter.update(done, _progress_text(study, state))

        try:
            run_search(study, store, lambda: LocalEngine(count, folders), report)
        except KeyboardInterrupt:
            reporter.note(
                f"stopped; every finished trial is kept: branchwork search resume {study.name}"
            )
            raise
    print_status(search_status(study.name, store))


def _strata_text(by: str, edges: Sequence[int]) -> str:
    return (
        f"random proposals come in turn from {len(edges) - 1} strata of {by}, with edges at "
        f"{', '.join(f'{edge:,}' for edge in edges)}"
    )


def _progress_text(study: Study, state: Progress) -> str:
    parts = []
    if state.best is not None:
        first = study.objectives[0]
        parts.append(f"best {first.name} {_number(first.value(state.best))}")
    parts += [
        f"{count} {word}"
        for count, word in (
            (state.num_infeasible, "over limits"),
            (state.num_reused, "reused"),
            (state.num_failed, "failed"),
        )
        if count
    ]
    return ", ".join(parts)


def print_status(state: dict[str, Any]) -> None:
    """Prints what ``search_status`` gives."""
    from cli.output import out, table

    console = out()
    console.print(
        f"study {state['name']} ({state['state']}): {state['num_finished']} of "
        f"{state['num_trials']} networks, task {state['task']} at {state['input']}; "
        f"{state['num_trained']} trained, {state['num_infeasible']} over limits, "
        f"{state['num_failed']} failed, {state['num_reused']} reused",
        markup=False,
    )
    if state["strata"] is not None:
        strata = state["strata"]
        counts = ", ".join(map(str, strata["num_finished"]))
        console.print(
            f"networks by stratum of {strata['by']}, the cheapest first: {counts}", markup=False
        )
    for failure in state["failures"]:
        console.print(f"failed {failure['record_id']}: {failure['reason']}", markup=False)
    for broken in state["broken_files"]:
        console.print(f"broken {broken}", markup=False)
    if state["front"]:
        shown = table(
            *("on the front", *state["objectives"]),
            *("metric with 95 % interval over images", "choices"),
            title="\nfront",
        )
        for row in state["front"]:
            shown.add_row(
                row["record_id"],
                *(_number(row[name]) for name in state["objectives"]),
                _metric(row),
                ", ".join(f"{key}={value}" for key, value in row["choices"].items()),
            )
        console.print(shown)
    console.print(
        f"\nbranchwork report {state['name']}    writes a page with plots\n"
        "branchwork dashboard    browses it",
        markup=False,
    )


def _metric(row: dict[str, Any]) -> str:
    if "metric" not in row:
        return ""
    low, high = row["score_interval"]
    return f"{row['metric']} {row['metric_value']:.3f} ({low:.3f} to {high:.3f})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"  # noqa: PLR2004
