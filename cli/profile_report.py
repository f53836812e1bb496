"""The option ``--report`` of ``branchwork profile``: what was printed, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

if TYPE_CHECKING:
    from analysis.any_module import ModuleProfile
    from analysis.cost import Cost
    from analysis.profiles import NetworkProfile
    from networks import NetworkSpec

Report = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report as well: .html, .md, .csv, .json or .tex (booktabs) by its suffix; "
        "several networks are compared with the first; may be given several times.",
    ),
]


class ProfiledRow(Protocol):
    """What a report needs to know of one network."""

    @property
    def name(self) -> str:
        """The network as the user wrote it."""

    @property
    def network(self) -> NetworkSpec | str:
        """Its spec, or the import path of a module."""

    @property
    def task(self) -> str | None:
        """Its task, None for a module."""

    @property
    def cost(self) -> Cost:
        """Its cost."""

    @property
    def module(self) -> ModuleProfile | None:
        """What was recorded, None for a spec."""


def check_reports(paths: Sequence[Path] | None) -> None:
    """Checks, before anything is counted, that every report's format is known.

    Raises:
        BranchworkError: If a suffix names none.
    """
    if paths:
        from analysis.profile_report import check_report_paths

        check_report_paths(paths)


def write_reports(rows: Sequence[ProfiledRow], paths: Sequence[Path] | None) -> None:
    """Writes the reports that were asked for, and says where.

    Args:
        rows: The networks, the one that others are compared with first.
        paths: The files; their suffixes name the formats.
    """
    if not paths:
        return
    from analysis.profile_report import write_profile_report
    from cli.output import say

    profiles = [_profile(row) for row in rows]
    for path in paths:
        say(f"wrote {write_profile_report(profiles, path)}")


def _profile(row: ProfiledRow) -> NetworkProfile:
    from analysis.profiles import profile_network, profile_of_module

    if row.module is not None:
        return profile_of_module(row.name, row.module)
    assert not isinstance(row.network, str)
    return profile_network(row.name, row.network, row.cost.input, row.task)
