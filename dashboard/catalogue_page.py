"""The catalogue page: every registered kind by slot, and the presets with their costs."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from pathlib import Path

import pandas as pd
import streamlit as st

import blocks
from analysis.cost import measure_cost
from analysis.drawing import STYLE, network_drawing
from analysis.published import PUBLISHED_COSTS
from analysis.published_costs import unit_text
from blocks import (
    SLOTS,
    BranchworkError,
    Entry,
    ImageSize,
    LayerSpec,
    Slot,
    fields_of,
    load_block_folder,
    plain_value,
)
from networks import PRESETS, spec_id, spec_to_dict

BLOCKS_VARIABLE = "BRANCHWORK_BLOCKS"
TASK_OUTPUTS = {"coco_keypoints": 17, "mpii_keypoints": 16, "cityscapes": 19, "camvid": 11}
"""Outputs of each task's networks (tests compare them with those of ``tasks``)."""

TASK_INPUTS = {
    "coco_keypoints": ImageSize(256, 192),
    "mpii_keypoints": ImageSize(256, 256),
    "cityscapes": ImageSize(512, 1024),
    "camvid": ImageSize(384, 480),
}
"""The image size at which each task's networks are usually compared (tests compare them too)."""

_SOURCES = Path(blocks.__file__).parent.parent


def load_named_blocks() -> list[str]:
    """Loads the block folders that the environment names.

    Returns:
        What is wrong with them, a line each.
    """
    problems = []
    for folder in filter(None, os.environ.get(BLOCKS_VARIABLE, "").split(os.pathsep)):
        try:
            load_block_folder(Path(folder))
        except BranchworkError as error:
            problems.append(str(error))
    return problems


def show_catalogue() -> None:
    """Shows what networks can be built from, and the published ones built from it."""
    st.title("Catalogue", anchor=False)
    kinds, presets = st.tabs(["Kinds", "Presets"])
    with kinds:
        _show_kinds()
    with presets:
        _show_presets()


def recounted_costs() -> pd.DataFrame:
    """Returns what papers print for the presets beside what we count by the same rule."""
    return pd.DataFrame([_recounted(index) for index in range(len(PUBLISHED_COSTS))])


def _show_kinds() -> None:
    slot = st.segmented_control(
        "Slot",
        list(Slot),
        default=Slot.BLOCK,
        required=True,
        format_func=lambda s: f"{s.value} ({len(SLOTS[s])})",
        key="slot",
    )
    for entry in SLOTS[slot or Slot.BLOCK]:
        names = " or ".join(f"**{name}**" for name in (entry.name, *entry.aliases))
        with st.expander(f"{names}: {entry.summary}"):
            _show_kind(entry)


def _show_kind(entry: Entry[LayerSpec]) -> None:
    st.caption(f"Revision {entry.revision}. Source: `{_source(entry.cls)}`")
    st.code(inspect.getdoc(entry.cls) or "Not documented.", None, wrap_lines=True)
    rows = [
        {
            "field": info.name,
            "type": getattr(info.type, "__name__", str(info.type))
            if not hasattr(info.type, "__origin__")
            else str(info.type),
            "default": "must be written"
            if info.default is dataclasses.MISSING
            else json.dumps(plain_value(info.default)),
            "all": ", ".join(json.dumps(plain_value(value)) for value in info.among),
            "meaning": info.help,
        }
        for info in fields_of(entry.cls)
    ]
    if rows:
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            column_config={"all": st.column_config.Column("values that a search may try")},
        )
    else:
        st.caption("It has no fields.")


def _source(cls: type[LayerSpec]) -> str:
    """Returns a class's file, below the sources where it is shipped."""
    path = Path(inspect.getfile(cls)).resolve()
    return str(path.relative_to(_SOURCES)) if path.is_relative_to(_SOURCES) else str(path)


def _show_presets() -> None:
    task = st.selectbox(
        "Task (sets the number of outputs)",
        list(TASK_OUTPUTS),
        format_func=lambda name: f"{name}: {TASK_OUTPUTS[name]} outputs",
        key="catalogue task",
        width=360,
    )
    assert task is not None
    st.caption(
        f"Counts for one image of {TASK_INPUTS[task]}. MACs: convolutions, linear layers and "
        "matrix products as Branchwork executes them; paper: the published rule of the Lite-HRNet "
        "family."
    )
    st.dataframe(
        _preset_table(TASK_OUTPUTS[task], str(TASK_INPUTS[task])),
        hide_index=True,
        column_config={
            "params": st.column_config.NumberColumn(format="localized"),
            "macs": st.column_config.NumberColumn("MACs", format="localized"),
            "paper": st.column_config.NumberColumn(format="localized"),
        },
    )
    name = st.selectbox("Architecture of", list(PRESETS), key="preset", width=360)
    assert name is not None
    spec = spec_to_dict(PRESETS[name].make(TASK_OUTPUTS[task]))
    st.html(STYLE + network_drawing(spec))
    st.download_button(
        "Download the spec",
        json.dumps(spec, indent=1),
        file_name=f"{name}.json",
        mime="application/json",
        on_click="ignore",
    )


@st.cache_data(show_spinner=False)
def _preset_table(num_outputs: int, size: str) -> pd.DataFrame:
    rows = []
    for name, preset in PRESETS.items():
        spec = preset.make(num_outputs)
        cost = measure_cost(spec, ImageSize.parse(size))
        counts = {"params": cost.params, "macs": cost.macs, "paper": cost.conventions["paper"]}
        rows.append({"preset": name, **counts, "spec_id": spec_id(spec), "what": preset.summary})
    return pd.DataFrame(rows)


@st.cache_data(show_spinner=False)
def _recounted(index: int) -> dict[str, str]:
    printed = PUBLISHED_COSTS[index]
    cost = measure_cost(printed.spec(), printed.input)
    return {
        "preset": printed.name,
        "input": str(printed.input),
        "params published": printed.params,
        "params counted": f"{cost.params:,}",
        "FLOPs published": printed.flops,
        "FLOPs counted": printed.recount(cost),
        "rule, unit": f"{printed.rule}, {unit_text(printed.unit)}",
        "note": printed.note,
    }
