"""Tables of text as Markdown and LaTeX, with what either would misread written so that it is read.

Markdown is that of the common forges (pipe tables); LaTeX needs the package ``booktabs`` alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from analysis.profile_tables import TextTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
}
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~#&])")
_SIGNED = re.compile(r"([+-])(\d[\d,.]*)")
_MAX_LINES = 40
"""So many lines of a table fit on a page below its caption."""

_CHARACTERS = 85
"""So many stand on a line of an article in one column, in the tables' small print."""


def markdown_text(text: str) -> str:
    r"""Returns text with Markdown's own characters escaped, on one line.

    >>> markdown_text("stages.*.units|block_2")
    'stages.\\*.units\\|block\\_2'
    """
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def markdown_table(table: TextTable) -> str:
    """Returns a table without its title: its pipe table and its note."""
    rule = ["---" if index < table.num_text else "---:" for index in range(len(table.head))]
    lines = [
        _markdown_row([markdown_text(cell) for cell in table.head]),
        _markdown_row(rule),
        *(_markdown_row([markdown_text(cell) for cell in row]) for row in table.rows),
    ]
    return "\n".join([*lines, "", markdown_text(table.note), ""])


def latex_text(text: str) -> str:
    r"""Returns text with LaTeX's own characters escaped.

    >>> latex_text("lite_hrnet_18 & 50 %")
    'lite\\_hrnet\\_18 \\& 50 \\%'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def latex_table(table: TextTable, label: str) -> str:
    """Returns a table as a float with caption and label; a long one as several.

    Args:
        table: The table.
        label: What references call it, ``tab:LABEL``.
    """
    chunks: list[list[Sequence[str]]] = [[]]
    num_lines = 0
    for row in table.rows:
        num_lines += _num_lines(row, table)
        if num_lines > _MAX_LINES and chunks[-1]:
            chunks.append([])
            num_lines = _num_lines(row, table)
        chunks[-1].append(row)
    if len(chunks) == 1:
        return _latex_float(table, chunks[0], table.title, label)
    return "\n".join(
        _latex_float(table, chunk, f"{table.title} ({index} of {len(chunks)})", f"{label}-{index}")
        for index, chunk in enumerate(chunks, start=1)
    )


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_float(table: TextTable, rows: Sequence[Sequence[str]], title: str, label: str) -> str:
    head = " & ".join(_latex_head(cell, index, table) for index, cell in enumerate(table.head))
    lines = [
        r"\begin{table}[tbp]",
        r"  \centering",
        r"  \footnotesize\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{latex_text(title)}. {latex_text(table.note)}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \begin{{tabular}}{{@{{}}{_latex_columns(table)}@{{}}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
    ]
    for row in rows:
        if row and row[0] == "total":
            lines.append(r"    \midrule")
        cells = [_latex_cell(cell, index, table) for index, cell in enumerate(row)]
        if cells:
            lines.append(rf"    {' & '.join(cells)} \\")
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _long_share(table: TextTable) -> float:
    """Which part of the line each long column takes."""
    return 0.9 / (len(table.long_columns) + 0.25)


def _num_lines(row: Sequence[str], table: TextTable) -> int:
    """How many lines a row needs."""
    width = _CHARACTERS * _long_share(table)
    return max((math.ceil(len(row[index]) / width) for index in table.long_columns), default=1)


def _latex_columns(table: TextTable) -> str:
    width = f"p{{{_long_share(table):.2f}\\linewidth}}"
    return "".join(
        width if index in table.long_columns else "l" if index < table.num_text else "r"
        for index in range(len(table.head))
    )


def _latex_head(cell: str, index: int, table: TextTable) -> str:
    """Writes a column's name; its unit stands below it, so that columns stay narrow."""
    name, comma, unit = cell.rpartition(", ")
    if index < table.num_text or not comma:
        return latex_text(cell)
    return rf"\shortstack[r]{{{latex_text(name)}\\{latex_text(unit)}}}"


def _latex_cell(cell: str, index: int, table: TextTable) -> str:
    if index >= table.num_text:
        signed = _SIGNED.fullmatch(cell)
        return f"${signed[1]}${signed[2]}" if signed else latex_text(cell)
    text = latex_text(cell)
    # Addresses have no spaces at which a line could end.
    return (
        re.sub(r"(\.|\\_|=)(?=\S)", r"\1\\allowbreak{}", text)
        if index in table.long_columns
        else text
    )
