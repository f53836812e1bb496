"""One record in full: architecture, cost, learning curve, latencies, score, conditions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from analysis.axes import INTERVAL_MEANING, SCORE_UNIT
from analysis.drawing import STYLE, network_drawing, read_network
from analysis.records import Record, Status
from analysis.tables import latency_table, record_label
from dashboard.charts import choices_lines, cost_chart, curve_chart
from dashboard.wording import plain

_MEASURES = {"macs": "MACs", "params": "Parameters"}
_STATUS_COLOURS: dict[Status, Any] = {
    Status.TRAINED: "green",
    Status.PROFILED: "blue",
    Status.INFEASIBLE: "orange",
    Status.PRUNED: "gray",
    Status.FAILED: "red",
}


def show_record(record: Record) -> None:
    """Shows everything that is known of a record."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(record_label(record)), width="content", anchor=False)
        st.badge(record.status.value, color=_STATUS_COLOURS[record.status])
    if record.reason:
        st.warning(f"{record.status.value.capitalize()}: {plain(record.reason)}")
    if record.reused_from:
        st.info(f"The score is that of record {plain(record.reused_from)}, an equal network.")
    _show_headline(record)
    st.html(STYLE + network_drawing(record.spec))
    if read_network(record.spec) is None:
        st.info(
            "Some kinds of this network are not registered here, so channels and costs by stage "
            "cannot be drawn. Name the folder of their block files with "
            "`branchwork dashboard --blocks DIR`."
        )
    costs, curve = st.columns(2, gap="medium")
    with costs:
        _show_cost(record)
    with curve:
        _show_curve(record)
    _show_tables(record)


def _show_headline(record: Record) -> None:
    score, cost = record.score, record.cost
    places = iter(st.columns(4))
    if score is not None:
        next(places).metric(
            f"{score.metric} at {record.input}",
            f"{score.value:.3f}",
            f"{score.low:.3f} to {score.high:.3f}",
            delta_color="off",
            delta_arrow="off",
            help=f"{INTERVAL_MEANING}; {score.num_images:,} images, seed {score.seed}.",
        )
    if cost is not None:
        counted = "Convolutions, linear layers and matrix products, each executed call once."
        next(places).metric(f"MACs at {record.input}", f"{cost.macs / 1e6:,.1f} M", help=counted)
        next(places).metric("Learnable parameters", f"{cost.params / 1e6:,.2f} M")
    if record.latencies:
        first = record.latencies[0]
        next(places).metric(
            f"Latency, {first.runtime}, batch {first.batch}",
            f"{first.p50_ms:,.1f} ms",
            f"threads {first.threads}, {first.dtype}, {first.verdict}",
            delta_color="off",
            delta_arrow="off",
            help=f"Median of {first.num_runs} passes on {record.environment.cpu}.",
        )


def _show_cost(record: Record) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Cost by stage and slot**", width="content")
        measure = st.segmented_control(
            "Measure",
            list(_MEASURES),
            default="macs",
            required=True,
            format_func=lambda name: _MEASURES[name],
            label_visibility="collapsed",
            key="cost measure",
        )
    if read_network(record.spec) is None:
        st.info("Known only where all kinds of the network are registered.")
        return
    try:
        figure = cost_chart(record, measure or "macs")
    except ValueError as error:
        st.info(f"It cannot be counted: {plain(str(error))}")
        return
    st.plotly_chart(
        figure,
        key="cost chart",
        config={"displaylogo": False},
        alt="Cost by stage, stacked by slot.",
    )


def _show_curve(record: Record) -> None:
    st.markdown("**Learning curve**")
    if not record.curve or record.score is None:
        st.info("This network was not trained.")
        return
    st.plotly_chart(
        curve_chart(record),
        key="curve chart",
        config={"displaylogo": False},
        alt="Training loss and validation score over optimiser steps.",
    )


def _show_tables(record: Record) -> None:
    names = ("Latencies", "Counts", "Score", "Protocol", "Choices", "Environment", "Spec")
    tabs = dict(zip(names, st.tabs(names), strict=True))
    with tabs["Latencies"]:
        if record.latencies:
            st.dataframe(latency_table(record), hide_index=True)
        else:
            st.caption("None was measured.")
    with tabs["Counts"]:
        st.caption("The same network under every counting convention: whole numbers, one image.")
        _fields(record.cost.conventions if record.cost else {}, "The network cannot be counted.")
    with tabs["Score"]:
        _show_score(record)
    with tabs["Protocol"]:
        st.caption("Scores compare only where all of this is equal, and at one input size.")
        _fields(
            dataclasses.asdict(record.score.protocol) if record.score else {},
            "The network was not scored.",
        )
    with tabs["Choices"]:
        st.code("\n".join(choices_lines(record.choices)) or "None: not proposed by a search.", None)
    with tabs["Environment"]:
        _fields({"created": record.created, **dataclasses.asdict(record.environment)}, "")
    with tabs["Spec"]:
        text = json.dumps(record.spec, indent=1)
        st.download_button(
            "Download the spec",
            text,
            file_name=f"{record.spec_id}.json",
            mime="application/json",
            on_click="ignore",
            help="`branchwork profile FILE` and study files read it.",
        )
        st.code(text, "json", height=360)


def _show_score(record: Record) -> None:
    score = record.score
    if score is None:
        st.caption("The network was not scored.")
        return
    st.caption(f"Metrics of {plain(record.task)} ({SCORE_UNIT}). Interval: {INTERVAL_MEANING}.")
    others = {name: value for name, value in score.metrics.items() if name != score.metric}
    facts = {
        score.metric: score.value,
        f"interval of {score.metric}": f"{score.low:.4f} to {score.high:.4f}",
        **others,
        "resamples": score.num_resamples,
        "images": score.num_images,
        "unreadable images left out": record.num_skipped_images,
        "protocol": score.protocol_id,
        "seed": score.seed,
        "training and evaluation, s": round(record.train_s, 1),
    }
    _fields(facts, "")


def _fields(data: Mapping[str, Any], nothing: str) -> None:
    """Shows nested data as rows of name and value."""
    if not data:
        st.caption(nothing)
        return
    rows = list(_flat(data))
    st.dataframe(pd.DataFrame(rows, columns=["", "value"]), hide_index=True)


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _written(value)))
    return rows


def _written(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
