"""``branchwork report``: a study as one HTML page that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Blocks, Runs, open_store


def report(
    study: Annotated[str, typer.Argument(help="The study's name in the run store.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page to write [default: STUDY.html]."),
    ] = None,
    runs: Runs = Path("runs"),
    blocks: Blocks = None,
) -> None:
    """Write a study's findings, front, plots and architectures as one HTML page.

    Example:

        branchwork report demo --out demo.html
    """
    store = open_store(runs, blocks)
    from analysis.image_results_store import ImageResultsStore
    from analysis.report import write_study_report
    from cli.output import say
    from tasks import results_type

    read = ImageResultsStore(store).reader(results_type)
    path = write_study_report(store, study, out or Path(f"{study}.html"), read)
    say(f"wrote {path}")
