"""A report of profiles as one HTML page: tables, figures, treemaps, drawings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from analysis.conventions import convention_rule
from analysis.drawing import STYLE as DRAWING_STYLE
from analysis.drawing import network_drawing
from analysis.figures import figure_svg, slot_shares_figure, stacked_figure
from analysis.html_page import html_list, html_page, html_table
from analysis.memory import MEMORY_RULE, Memory
from analysis.memory_chart import memory_svg
from analysis.memory_tables import memory_table
from analysis.profile_tables import (
    UNITS,
    TextTable,
    branch_table,
    comparing_tables,
    conventions_table,
    layer_table,
    rules_table,
    stage_table,
    summary_table,
)
from analysis.profile_words import how_counted, missing_counts, report_title
from analysis.profiles import NetworkProfile, sums_by
from analysis.treemap import treemap_svg
from networks import spec_to_dict

_MEASURES = ("macs", "params")


def html_report(profiles: Sequence[NetworkProfile]) -> str:
    """Returns a page that opens offline and prints: tables, figures, treemaps, drawings."""
    parts = [
        f"<h1>{escape(report_title(profiles))}</h1>",
        f'<p class="sub">{escape(how_counted(profiles))}</p>',
        html_list(missing_counts(profiles), "found") if missing_counts(profiles) else "",
        _html_section(summary_table(profiles)),
        _html_conventions(profiles),
        _html_memory(profiles),
        _html_comparison(profiles) if len(profiles) > 1 else "",
        *map(_html_network, profiles),
    ]
    return html_page(report_title(profiles), parts, styles=DRAWING_STYLE)


def _html_section(table: TextTable, level: int = 2) -> str:
    return f"<h{level}>{escape(table.title)}</h{level}>{_html_table(table)}"


def _html_table(table: TextTable) -> str:
    drawn = html_table(table.head, table.rows, num_text=table.num_text)
    return f'{drawn}<p class="note">{escape(table.note)}</p>'


def _html_conventions(profiles: Sequence[NetworkProfile]) -> str:
    """Writes every convention's numbers with its rule in one table."""
    counts = conventions_table(profiles)
    rows = [(name, convention_rule(name), *others) for name, *others in counts.rows]
    head = (counts.head[0], "rule", *counts.head[1:])
    drawn = html_table(head, rows, num_text=3)
    note = f"{counts.note} {rules_table().note}"
    return f'<h2>{escape(counts.title)}</h2>{drawn}<p class="note">{escape(note)}</p>'


def _html_memory(profiles: Sequence[NetworkProfile]) -> str:
    table = memory_table(profiles)
    return "" if table is None else _html_section(table)


def _html_comparison(profiles: Sequence[NetworkProfile]) -> str:
    known = [profile for profile in profiles if profile.spec is not None]
    tables = [(each.label, _stage_data(each)) for each in known]
    figures = [figure_svg(slot_shares_figure(tables, measure)) for measure in _MEASURES]
    return "\n".join(
        [
            "<h2>Side by side</h2>",
            *(figures if tables else ()),
            *(_html_section(table, 3) for table in comparing_tables(profiles)),
        ]
    )


def _html_network(profile: NetworkProfile) -> str:
    name = escape(profile.marked_name)
    parts = [f"<h2>{name}</h2>"]
    if profile.spec is not None:
        parts += ["<h3>Architecture</h3>", network_drawing(spec_to_dict(profile.spec))]
        table, size = _stage_data(profile), profile.cost.input
        parts.append("<h3>Stacked cost by stage and slot</h3>")
        parts += [figure_svg(stacked_figure(table, profile.name, size, m)) for m in _MEASURES]
    parts += [_html_treemap(profile, measure) for measure in _MEASURES]
    if profile.memory is not None:
        parts.append(_html_memory_chart(profile.marked_name, profile.memory))
    tables = (stage_table(profile), branch_table(profile))
    parts += [_html_section(table, 3) for table in tables if table is not None]
    layers = layer_table(profile)
    summary = f"<summary>{escape(layers.title)}</summary>"
    parts.append(f"<details>{summary}{_html_table(layers)}</details>")
    return "\n".join(parts)


def _html_treemap(profile: NetworkProfile, measure: str) -> str:
    sums = sums_by(profile.places, lambda place: place.layer)
    empty = sum(counts[measure] == 0 for counts in sums.values())
    without = f" Layers without any, not drawn: {empty}." if empty else ""
    levels = "stage, slot and layer" if profile.spec is not None else "layer"
    total = profile.cost.conventions[measure]
    note = (
        f"Areas are shares of {total:,} {measure} at {profile.cost.input}, by {levels}; exact "
        f"numbers are under the pointer and in the tables.{without}"
    )
    return (
        f"<h3>Treemap of {measure} ({escape(UNITS[measure])})</h3>"
        f'{treemap_svg(profile, measure)}<p class="note">{escape(note)}</p>'
    )


def _html_memory_chart(name: str, memory: Memory) -> str:
    if memory.best_order.steps != memory.last_use.steps:
        order = "the best order runs the same operations in another order."
    elif memory.best_order_is_proven:
        order = "no other order has a lower peak than the written one, let go after the last use."
    else:
        order = "no better order than the written one was found, but there may be one."
    note = f"What lives while each operation runs, {memory.conditions}; {order} {MEMORY_RULE}"
    return (
        f"<h3>Live activation memory</h3>{memory_svg(name, memory)}"
        f'<p class="note">{escape(note)}</p>'
    )


def _stage_data(profile: NetworkProfile) -> pd.DataFrame:
    sums = sums_by(profile.places, lambda place: (place.stage, place.slot))
    rows = [(*key, *(counts[m] for m in _MEASURES)) for key, counts in sums.items()]
    return pd.DataFrame(rows, columns=["stage", "slot", *_MEASURES])
