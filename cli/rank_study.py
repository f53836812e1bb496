"""``branchwork rank-study``: whether a short schedule orders networks as a long one does."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import (
    DEFAULT_TASK,
    AsJson,
    Blocks,
    Changes,
    Input,
    Runs,
    load_blocks,
    open_store,
)

if TYPE_CHECKING:
    from analysis.profile_tables import TextTable
    from analysis.store import RunStore
    from search import RankProgress, RankResults, RankStudy

_SCHEDULE = "NAME[,KEY=VALUE...]"


def rank_study(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NETWORK...]",
            help="Presets, spec files (.json), or spec_ids that the run store holds.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str, typer.Option("--task", help="The task that all are trained for.")
    ] = DEFAULT_TASK,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="BRANCHWORK_DATA", help="The data set's folder."),
    ] = None,
    short: Annotated[
        str,
        typer.Option("--short", metavar=_SCHEDULE, help="The schedule whose order is judged."),
    ] = "tiny",
    long: Annotated[
        str,
        typer.Option("--long", metavar=_SCHEDULE, help="The schedule that it is judged by."),
    ] = "short",
    input_: Input = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="What to rank by, such as mean_oks; may be given several times [default: the "
            "task's].",
        ),
    ] = None,
    seeds: Annotated[
        list[int] | None,
        typer.Option(
            "--seed",
            min=0,
            help="Seed of trainings, the first one also of draws and resampling; may be given "
            "several times, to train every network with each [default: 0].",
        ),
    ] = None,
    random: Annotated[
        int, typer.Option("--random", min=0, help="Also draw so many networks from --space.")
    ] = 0,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space",
            metavar="STUDY.toml",
            help="The study file whose [free] networks are drawn; nothing else of it counts.",
        ),
    ] = None,
    max_macs: Annotated[
        float,
        typer.Option(
            "--max-macs",
            help="Networks with more MACs at the input size are left out [default: none is].",
            show_default=False,
        ),
    ] = math.inf,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="An option of the task: train_split=train, flip_test=false; may be given several "
            "times.",
        ),
    ] = None,
    changes: Changes = None,
    name: Annotated[
        str, typer.Option("--name", help="The study's name in the run store.")
    ] = "rank_study",
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Trainings at once, each with one thread.")
    ] = 1,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="FILE.md", help="Write a Markdown page, its picture beside it."
        ),
    ] = None,
    as_json: AsJson = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Train networks on a short and on a long schedule, and say how well the two orders agree.

    Prints Kendall's tau with its interval and p, overall and within strata of MACs, what is lost by
    taking the short schedule's best, and from which epoch on the long schedule's order holds.
    Each training is kept as soon as it ends: after Ctrl-C the same command goes on, and what was
    trained is never trained again.

    Example:

        branchwork rank-study lite_hrnet_18 naive_lite_hrnet_18 small_hrnet_w16 --random 9
        --space configs/studies/lsp.toml --data lsp --option train_split=train
        --option val_split=val --input 128x96 --short tiny --long short --metric AP
        --metric mean_oks --report out.md
    """
    from cli.output import print_json
    from search import rank_results
    from search.rank_report import rank_data, write_rank_report

    _check_report(report)
    store = open_store(runs, blocks)
    study = _study(
        networks or [],
        changes=changes,
        task=task,
        data=data,
        short=short,
        long=long,
        input_=input_,
        seeds=tuple(seeds or (0,)),
        random=random,
        space=space,
        max_macs=max_macs,
        options=options or [],
        name=name,
        store=store,
    )
    _run(study, store, workers, blocks)
    results = rank_results(study, store, metrics or (), seed=study.seeds[0])
    written = (
        write_rank_report(results, report, shlex.join(["branchwork", *sys.argv[1:]]))
        if report
        else ()
    )
    if as_json:
        print_json(rank_data(results) | {"report": [str(path) for path in written]})
    else:
        _print(results, written)


def _check_report(report: Path | None) -> None:
    """Checks before the work begins that the page can be written."""
    from blocks import BranchworkError, Problem

    if report is None or (report.suffix == ".md" and report.parent.is_dir()):
        return
    raise BranchworkError(
        Problem(
            where="--report",
            rule="the page is a Markdown file (.md) in a folder that exists",
            got=repr(str(report)),
            do="write --report out.md, for example",
        )
    )


def _study(
    networks: list[str],
    *,
    changes: list[str] | None,
    task: str,
    data: Path | None,
    short: str,
    long: str,
    input_: str | None,
    seeds: tuple[int, ...],
    random: int,
    space: Path | None,
    max_macs: float,
    options: list[str],
    name: str,
    store: RunStore,
) -> RankStudy:
    from analysis.cost import measure_cost
    from blocks import BranchworkError, Problem
    from cli.networks import find_networks, input_of
    from cli.output import say
    from cli.settings import read_pairs, read_schedule
    from networks import spec_id
    from search import Entrant, RankStudy, draw_entrants, read_study
    from tasks import find_task, make_task

    made_task = make_task(find_task(task), read_pairs(options, "--option"), "--option ")
    size = input_of(input_, task)
    entrants = []
    for found in find_networks(networks, task=task, changes=changes, store=store):
        macs = measure_cost(found.spec, size).macs
        if macs > max_macs:
            say(f"left out {found.name}: {macs:,} MACs are over --max-macs")
        else:
            entrants.append(Entrant(name=found.name, spec=found.spec))
    if random:
        if space is None:
            raise BranchworkError(
                Problem(
                    where="--random",
                    rule="networks are drawn from the space of a study file",
                    got=f"--random {random} without --space",
                    do="write --space configs/studies/lsp.toml, for example",
                )
            )
        entrants += draw_entrants(
            read_study(space, store=store, data=data).space,
            random,
            size=size,
            task=made_task,
            largest_macs=max_macs,
            seed=seeds[0],
            known={spec_id(entrant.spec) for entrant in entrants},
        )
    return RankStudy(
        name=name,
        networks=tuple(entrants),
        task_name=task,
        task=made_task,
        data=data,
        input=size,
        short=read_schedule(short, "--short"),
        long=read_schedule(long, "--long"),
        seeds=seeds,
    )


def _run(study: RankStudy, store: RunStore, workers: int, blocks: list[Path] | None) -> None:
    from cli.output import say
    from cli.progress import progress
    from search import LocalEngine, run_rank_study

    num_runs = 2 * len(study.networks) * len(study.seeds)
    say(
        f"rank study {study.name}: {len(study.networks)} networks on two schedules, "
        f"{num_runs} trainings, {workers} at once, results in "
        f"{store.study_folder(study.name)}"
    )
    folders = load_blocks(blocks)
    with progress(num_runs, "trainings") as reporter:

        def tell(state: RankProgress) -> None:
            if state.message:
                reporter.note(state.message)
            failed = f", {state.num_failed} failed" if state.num_failed else ""
            done = state.num_done + sum(state.running.values())
            reporter.update(done, f"{'; '.join(state.running)}{failed}")

        try:
            run_rank_study(study, store, lambda: LocalEngine(workers, folders), tell)
        except KeyboardInterrupt:
            reporter.note("stopped; what was done is kept: the same command goes on from there")
            raise


def _print(results: RankResults, written: tuple[Path, ...]) -> None:
    from cli.output import out
    from search.rank_report import (
        agreement_table,
        rank_sentences,
        regret_table,
        scores_table,
        stability_table,
    )

    console = out()
    for make in (scores_table, agreement_table, regret_table, stability_table):
        made: TextTable = make(results)
        _print_table(made)
        console.print(f"{made.note}\n", markup=False)
    for sentence in rank_sentences(results):
        console.print(f"- {sentence}", markup=False)
    for name, why in results.left_out.items():
        console.print(f"- left out {name}: {why}", markup=False)
    for path in written:
        console.print(f"wrote {path}", markup=False)


def _print_table(made: TextTable) -> None:
    from cli.output import out, table

    shown = table(*made.head, title=made.title, left=made.num_text)
    for row in made.rows:
        shown.add_row(*row)
    out().print(shown)
