"""The page of one study: what was found, accuracy against cost, and any of its networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import streamlit as st

from analysis.axes import INTERVAL_MEANING, write_score
from analysis.comparing import (
    Comparable,
    LatencyConditions,
    latency_conditions,
    latency_under,
    protocols,
)
from analysis.conventions import CONVENTIONS
from analysis.published import CAVEAT, MARK, protocol_label, published_protocols
from analysis.records import Record
from analysis.store import Loaded, RunStore
from analysis.tables import record_label, records_table
from dashboard.charts import tradeoff_chart
from dashboard.paired_results import found_in
from dashboard.published_page import published_rows, show_published_chart
from dashboard.reading import newest_studies, read_records, run_store, search_settings
from dashboard.record_view import show_record
from dashboard.wording import plain

_COSTS = {"macs": "MACs", "params": "Parameters"}
_TABLE_HEIGHT = 420
_MAX_ROWS = 12


def show_study() -> None:
    """Shows the study that the address or the menu names."""
    store = run_store()
    studies = newest_studies(store)
    if not studies:
        _say_that_there_is_none(store)
        return
    menus = st.columns([3, 6, 4, 2], vertical_alignment="bottom")
    with menus[0]:
        study = st.selectbox("Study", studies, key="study", bind="query-params")
    with menus[3]:
        st.button("Read again", help="Looks for records written since.", width="stretch")
    assert study is not None
    loaded = read_records(store, study)
    group = _choose_group(study, protocols(loaded.records), menus[1])
    with st.container(border=True, key="findings"):
        _show_findings(found_in(store, loaded.records, group), search_settings(store, study))
    if not loaded.records:
        _show_broken(loaded)
        return
    record_key = f"record of {study}"
    ids = {record.record_id: record for record in loaded.records}
    if st.session_state.get(record_key) not in ids:
        st.session_state[record_key] = _first_shown(loaded.records, group).record_id
    if group is not None:
        _show_tradeoff(study, group, record_key, menus[2])
    chosen = st.selectbox(
        "Network shown below" + (" (or click a point above)" if group else ""),
        list(ids),
        format_func=lambda record_id: _menu_line(ids[record_id]),
        key=record_key,
    )
    assert chosen is not None
    show_record(ids[chosen])
    _show_table(study, loaded.records)
    _show_broken(loaded)


def _say_that_there_is_none(store: RunStore) -> None:
    st.title("No studies yet")
    where = "has no studies" if store.root.is_dir() else "does not exist yet"
    st.info(
        f"The run store `{store.root}` {where}. Train or search something, for example with "
        "`branchwork search start STUDY.toml`, or name another folder with "
        "`branchwork dashboard --runs DIR`."
    )
    st.button("Read again")


def _choose_group(
    study: str, groups: Sequence[Comparable], place: st.delta_generator.DeltaGenerator
) -> Comparable | None:
    """Asks which scores to look at: those of two protocols or input sizes share no chart."""
    if not groups:
        return None
    label = "Scores under one protocol and at one input size"
    with place:
        index = st.selectbox(
            label,
            range(len(groups)),
            format_func=lambda i: f"{_count(groups[i])}: {groups[i].label}",
            key=f"group of {study}",
        )
    assert index is not None
    return groups[index]


def _count(group: Comparable) -> str:
    num = len(group.records)
    return f"{num} score{'' if num == 1 else 's'}"


def _show_findings(sentences: Sequence[str], settings: str) -> None:
    """Writes down what was found, and how it was searched for."""
    st.markdown("\n".join(f"- {plain(sentence)}" for sentence in sentences))
    if settings:
        st.caption(plain(f"A search: {settings}."))


def _show_tradeoff(
    study: str,
    group: Comparable,
    record_key: str,
    menu: st.delta_generator.DeltaGenerator,
) -> None:
    conditions = {each: each.label for each in latency_conditions(group.records)}
    options: list[str | LatencyConditions] = [*_COSTS, *conditions]
    with menu:
        cost = st.selectbox(
            "Cost",
            options,
            format_func=lambda c: _COSTS[c] if isinstance(c, str) else f"Latency: {c.label}",
            key=f"cost of {study}",
        )
    assert cost is not None
    task = group.protocol.task
    ours, theirs = st.columns([7, 5] if published_protocols(task) else [9, 3], gap="small")
    with ours, st.container(border=True):
        st.markdown("**Measured here**")
        shown, name = _with_cost(group, cost)
        if not shown.records:
            st.info("None of these networks has this cost.")
            return
        chart_key = f"chart of {study} {group.protocol_id} {group.input} {name}"
        st.plotly_chart(
            tradeoff_chart(shown, name, st.session_state[record_key]),
            key=chart_key,
            on_select=lambda: _take_click(chart_key, record_key),
            selection_mode="points",
            config={"displaylogo": False},
            alt="Accuracy against cost, one point a network; the menu below holds the same ones.",
        )
        left_out = len(group.records) - len(shown.records)
        note = f" {left_out} networks without this cost are left out." if left_out else ""
        st.caption(f"Bars: {INTERVAL_MEANING}.{note}")
    with theirs, st.container(border=True):
        _show_published(task)


def _with_cost(group: Comparable, cost: str | LatencyConditions) -> tuple[Comparable, str]:
    """Returns the records that have a cost, and the cost's name."""
    if isinstance(cost, str):
        kept = tuple(record for record in group.records if record.cost is not None)
        return dataclasses.replace(group, records=kept), cost
    kept = tuple(r for r in group.records if latency_under(r, cost) is not None)
    return dataclasses.replace(group, records=kept), cost.objective


def _take_click(chart_key: str, record_key: str) -> None:
    """Shows the record whose point was clicked; a click beside the points changes nothing."""
    points = st.session_state[chart_key]["selection"]["points"]
    clicked = [point["customdata"][0] for point in points if point.get("customdata")]
    if clicked:
        st.session_state[record_key] = clicked[0]


def _show_published(task: str) -> None:
    known = published_protocols(task)
    if not known:
        st.markdown("**Published results**")
        st.markdown(
            f"None are known for {plain(task)}. Scores of other tasks do not compare with these."
        )
        return
    st.markdown(f"**{MARK.capitalize()}**")
    index = st.selectbox(
        "Protocol",
        range(len(known)),
        format_func=lambda i: protocol_label(known[i]),
        key=f"published protocol of {task}",
        label_visibility="collapsed",
    )
    assert index is not None
    rows = published_rows(task, known[index])
    show_published_chart(rows, known[index])
    st.caption(CAVEAT)


def _first_shown(records: Sequence[Record], group: Comparable | None) -> Record:
    """Returns the best network, the first where none was scored."""
    scored = group.records if group else ()

    def value(record: Record) -> float:
        known = record.score is not None and not math.isnan(record.score.value)
        return record.score.value if record.score and known else -math.inf

    return max(scored, key=value) if scored else records[0]


def _menu_line(record: Record) -> str:
    """Names a record in the menu, with what tells it from others."""
    parts = [record_label(record), str(record.input)]
    parts.append(write_score(record.score) if record.score else record.status.value)
    if record.cost:
        parts.append(f"{record.cost.macs / 1e6:,.1f} M MACs")
    return " \N{MIDDLE DOT} ".join(parts)


def _show_table(study: str, records: Sequence[Record]) -> None:
    st.subheader("All records", anchor=False)
    table = records_table(records)
    counts = {name: st.column_config.NumberColumn(format="localized") for name in CONVENTIONS}
    long = len(table) > _MAX_ROWS
    st.dataframe(
        table,
        hide_index=True,
        height=_TABLE_HEIGHT if long else "content",
        column_config=counts,
    )
    st.download_button(
        "Download as CSV",
        table.to_csv(index=False),
        file_name=f"{study}.csv",
        mime="text/csv",
        on_click="ignore",
    )


def _show_broken(loaded: Loaded) -> None:
    for problem in loaded.broken:
        st.warning(f"A file that is no record was left out: {plain(problem)}")
