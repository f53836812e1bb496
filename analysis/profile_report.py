"""Reports of profiles: one file for a browser, a forge, a spreadsheet, a program or a paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from analysis.memory_tables import memory_table
from analysis.profile_data import csv_report, json_report
from analysis.profile_page import html_report
from analysis.profile_tables import (
    TextTable,
    branch_table,
    comparing_tables,
    conventions_table,
    cost_difference_table,
    layer_table,
    rules_table,
    spec_difference_table,
    stage_table,
    summary_table,
    totals_difference_table,
)
from analysis.profile_words import how_counted, missing_counts, report_title
from analysis.profiles import NetworkProfile, labelled
from analysis.table_formats import latex_table, markdown_table, markdown_text
from blocks import BranchworkError, Problem, did_you_mean

_MEASURES = ("macs", "params")


def check_report_paths(paths: Sequence[Path]) -> None:
    """Checks that every file's suffix names a format.

    Args:
        paths: The files to write.

    Raises:
        BranchworkError: With every one that does not.
    """
    problems = [
        Problem(
            where=f"--report {path}",
            rule=f"the suffix of a report names its format: {', '.join(_FORMATS)}",
            got=repr(path.suffix) if path.suffix else "no suffix",
            do=did_you_mean(path.suffix.lower(), _FORMATS),
        )
        for path in paths
        if path.suffix.lower() not in _FORMATS
    ]
    if problems:
        raise BranchworkError(problems)


def write_profile_report(profiles: Sequence[NetworkProfile], path: Path) -> Path:
    """Writes a report of networks in the format that the file's suffix names.

    Args:
        profiles: The networks, the one that others are compared with first.
        path: The file to write; an existing one is replaced.

    Returns:
        The file.

    Raises:
        BranchworkError: If the suffix names no format.
    """
    check_report_paths([path])
    text = _FORMATS[path.suffix.lower()](labelled(profiles))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def markdown_report(profiles: Sequence[NetworkProfile]) -> str:
    """Returns tables for a forge; those by layer are folded."""
    parts = [f"# {markdown_text(report_title(profiles))}\n", f"{how_counted(profiles)}\n"]
    parts += [f"- {markdown_text(text)}" for text in missing_counts(profiles)]
    parts += [_markdown_section(table) for table in _leading_tables(profiles)]
    for profile in profiles:
        folded = layer_table(profile)
        tables = (stage_table(profile), branch_table(profile))
        parts += [_markdown_section(table) for table in tables if table]
        parts.append(
            f"<details>\n<summary>{escape(folded.title)}</summary>\n\n"
            f"{markdown_table(folded)}\n</details>\n"
        )
    return "\n".join(parts)


def latex_report(profiles: Sequence[NetworkProfile]) -> str:
    """Returns tables to paste into a paper, each a float with caption and label."""
    first, *others = profiles
    named: list[tuple[str, TextTable | None]] = [
        ("summary", summary_table(profiles, long_names_in_note=True)),
        ("conventions", conventions_table(profiles)),
        ("rules", rules_table()),
        ("memory", memory_table(profiles)),
    ]
    for index, profile in enumerate(profiles, start=1):
        named.append((f"stages-{index}", stage_table(profile, _MEASURES[::-1])))
        named.append((f"branches-{index}", branch_table(profile, _MEASURES[::-1])))
        if profile.spec is None:
            named.append((f"layers-{index}", layer_table(profile, _MEASURES[::-1])))
    if others:
        named.append(("specs", spec_difference_table(profiles)))
    # Side by side, more than two networks would be wider than a page.
    for index, other in enumerate(others, start=2):
        named.append((f"difference-{index}", totals_difference_table([first, other])))
        for measure in _MEASURES:
            table = cost_difference_table([first, other], measure)
            named.append((f"difference-{index}-{measure}", table))
    texts = [
        f"% {' '.join(report_title(profiles).split())}",
        f"% {how_counted(profiles)}",
        *(f"% {' '.join(text.split())}" for text in missing_counts(profiles)),
        r"% Needs \usepackage{booktabs}; the widest tables need margins of 2 cm on A4.",
        "",
        *(latex_table(table, f"profile-{label}") for label, table in named if table),
    ]
    return "\n".join(texts)


_FORMATS: dict[str, Callable[[Sequence[NetworkProfile]], str]] = {
    ".html": html_report,
    ".md": markdown_report,
    ".csv": csv_report,
    ".json": json_report,
    ".tex": latex_report,
}


def _leading_tables(profiles: Sequence[NetworkProfile]) -> list[TextTable]:
    tables: list[TextTable | None] = [
        summary_table(profiles),
        conventions_table(profiles),
        rules_table(),
        memory_table(profiles),
    ]
    if len(profiles) > 1:
        tables += comparing_tables(profiles)
    return [table for table in tables if table is not None]


def _markdown_section(table: TextTable) -> str:
    return f"## {markdown_text(table.title)}\n\n{markdown_table(table)}"
