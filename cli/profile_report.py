"""The option ``--report`` of ``branchwork profile``: what was printed, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from analysis.profiles import NetworkProfile

Report = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report as well: .html, .md, .csv, .json or .tex (booktabs) by its suffix; "
        "several networks are compared with the first; may be given several times.",
    ),
]


def check_reports(paths: Sequence[Path] | None) -> None:
    """Checks, before anything is counted, that every report's format is known.

    Raises:
        BranchworkError: If a suffix names none.
    """
    if paths:
        from analysis.profile_report import check_report_paths

        check_report_paths(paths)


def write_reports(profiles: Sequence[NetworkProfile], paths: Sequence[Path] | None) -> None:
    """Writes the reports that were asked for, and says where.

    Args:
        profiles: The networks, the one that others are compared with first.
        paths: The files; their suffixes name the formats.
    """
    if not paths:
        return
    from analysis.profile_report import write_profile_report
    from cli.output import say

    for path in paths:
        say(f"wrote {write_profile_report(profiles, path)}")
