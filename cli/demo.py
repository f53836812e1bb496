"""``branchwork demo``: the main job from end to end, on data that the project renders itself."""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import Blocks, Runs, open_store

if TYPE_CHECKING:
    from analysis.records import Record
    from analysis.store import RunStore


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The report to write.")] = Path(
        "demo_report.html"
    ),
    again: Annotated[
        bool, typer.Option("--again", help="Forget an earlier demo and search anew.")
    ] = False,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Profile the presets, search small networks, measure the front, report: some minutes.

    Synthetic people stand in for real ones, so that no data set is needed. A demo that was stopped
    goes on; one that is finished is reported again.

    Example:

        branchwork demo --out demo_report.html
    """
    started = time.monotonic()
    store = open_store(runs, blocks)
    from analysis.findings import findings
    from analysis.image_results_store import ImageResultsStore
    from analysis.published_recounts import recount_published
    from analysis.report import write_study_report
    from cli.output import out as console_of
    from cli.published import print_published
    from tasks import results_type

    console = console_of()
    console.rule("1. What the presets cost, and what papers print", align="left")
    print_published(recount_published())

    console.rule("2. A search over widths, branches and blocks", align="left")
    name = _search(store, again=again)

    records = store.load(name).records
    console.rule("3. Latency of the front on this machine", align="left")
    _print_front(records)

    read = ImageResultsStore(store).reader(results_type)
    path = write_study_report(store, name, out, read)
    console.rule("4. What was found", align="left")
    for sentence in findings(records, read):
        console.print(f"- {sentence}", markup=False)
    console.print(
        f"\nThe report with plots: {path} (open it in a browser)\n"
        f"To browse the networks: make dashboard, or branchwork dashboard --runs {runs}\n"
        f"This took {time.monotonic() - started:.0f} s.",
        markup=False,
    )


def _search(store: RunStore, *, again: bool) -> str:
    import shutil

    from cli.search import run_and_print
    from search import load_search, read_study, start_search

    with as_file(files("configs").joinpath("studies", "demo.toml")) as path:
        study = read_study(path, store=store)
    if again:
        shutil.rmtree(store.study_folder(study.name), ignore_errors=True)
    if study.name in store.studies():
        study = load_search(study.name, store)
    else:
        start_search(study, store)
    run_and_print(study, store, None, None)
    return study.name


def _print_front(records: tuple[Record, ...]) -> None:
    from analysis.comparing import latency_conditions, latency_under, protocols
    from analysis.tables import front, record_label
    from cli.output import out, table

    groups = protocols(records)
    if not groups:
        out().print("no network was scored, so there is no front", markup=False)
        return
    best = front(groups[0].records, ["score", "macs"])
    for conditions in latency_conditions(best):
        shown = table(
            *("network", "score", "MACs", "median ms", "p90 ms", "verdict"),
            title=f"{conditions.label}",
        )
        for record in best:
            latency = latency_under(record, conditions)
            assert record.score is not None
            assert record.cost is not None
            shown.add_row(
                record_label(record),
                f"{record.score.value:.3f}",
                f"{record.cost.macs:,}",
                f"{latency.p50_ms:.2f}" if latency else "",
                f"{latency.p90_ms:.2f}" if latency else "",
                latency.verdict if latency else "",
            )
        out().print(shown)
