"""The page of published results and costs: facts of others, never mixed with what we measure."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from analysis.published import (
    CAVEAT,
    MARK,
    PROTOCOL_COLUMNS,
    protocol_label,
    published_protocols,
    published_results,
    under_protocol,
)
from dashboard.catalogue_page import TASK_OUTPUTS, recounted_costs
from dashboard.charts import published_chart


def show_published() -> None:
    """Shows published results by task and protocol."""
    st.title("Published results", anchor=False)
    st.markdown(f"All of this is **{MARK}**. {CAVEAT}")
    menus = st.columns([2, 5])
    with menus[0]:
        tasks = [name for name in TASK_OUTPUTS if published_protocols(name)]
        task = st.selectbox("Task", tasks, key="published task")
    assert task is not None
    known = published_protocols(task)
    with menus[1]:
        index = st.selectbox(
            "Protocol",
            range(len(known)),
            format_func=lambda i: protocol_label(known[i]),
            key=f"published protocol of {task}",
        )
    assert index is not None
    rows = published_rows(task, known[index])
    show_published_chart(rows, known[index])
    st.dataframe(
        rows.drop(columns=list(PROTOCOL_COLUMNS)),
        hide_index=True,
        column_config={
            "value": f"{known[index][0]}, %",
            "params_m": "params, M",
            "flops_as_printed_m": "FLOPs as printed, M",
            "flops_unit": "unit of M",
            "flops_rule": "FLOPs rule",
        },
    )
    st.subheader("Published costs of the presets, recounted", anchor=False)
    st.caption(
        "What papers print, beside what Branchwork counts by the rule and in the unit that "
        "reproduce it."
    )
    costs = recounted_costs()
    narrow = dict.fromkeys(costs.columns, st.column_config.Column(width="small"))
    wide = dict.fromkeys(("preset", "note"), st.column_config.Column(width="medium"))
    st.dataframe(costs, hide_index=True, height="content", column_config=narrow | wide)


def show_published_chart(rows: pd.DataFrame, protocol: tuple[str, ...]) -> None:
    """Shows accuracy against parameters, or says that no parameters are known."""
    if rows["params_m"].isna().all():
        st.info("No parameters are published for these results, so there is no chart of them.")
        return
    st.plotly_chart(
        published_chart(rows, f"{protocol[0]} as published, %"),
        key=f"published chart {protocol}",
        config={"displaylogo": False},
        alt="Published accuracy against published parameters, one point a network.",
    )


def published_rows(task: str, protocol: tuple[str, ...]) -> pd.DataFrame:
    """Returns the published results of a task under one protocol, best first."""
    rows = under_protocol(published_results(task), protocol)
    return rows.sort_values("value", ascending=False, kind="stable")
