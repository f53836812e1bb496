"""The dashboard's pages, run without a browser."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys

import numpy as np
import pytest
from dashboard_records import (
    SIZE,
    latency_of,
    record_of,
    score_of,
    search_records,
    segmentation_score_of,
)
from streamlit.testing.v1 import AppTest

from analysis.findings import findings
from analysis.records import Record
from analysis.store import RunStore
from blocks import SLOTS, ImageSize, Slot
from dashboard import paired_results
from dashboard.catalogue_page import BLOCKS_VARIABLE, TASK_INPUTS, TASK_OUTPUTS
from dashboard.reading import RUNS_VARIABLE
from networks import lite_hrnet_18, spec_to_dict
from tasks import find_task

BLOCK_FILE = '''
from dataclasses import dataclass

from torch import nn

from blocks import BranchBlock, choice, register_block


@register_block("quiet_gate", aliases=("hush",))
@dataclass(frozen=True, kw_only=True)
class QuietGate(BranchBlock):
    """A block of somebody else's.

    It does nothing at all.
    """

    rate: int = choice(3, among=(1, 3), help="how quiet it is")

    def build_branch(self, shape):
        return nn.Identity()

    def trace_branch(self, tape, shape, x):
        return x
'''


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setenv(RUNS_VARIABLE, str(tmp_path / "runs"))
    monkeypatch.delenv(BLOCKS_VARIABLE, raising=False)
    return RunStore(tmp_path / "runs")


@pytest.fixture
def app(root) -> AppTest:
    return AppTest.from_file(str(root / "dashboard/app.py"), default_timeout=60)


def fill(store: RunStore, records: list[Record]) -> None:
    for record in records:
        store.write(record)


def opened(app: AppTest, study: str = "") -> AppTest:
    if study:
        app.query_params["study"] = study
    app.run()
    assert not app.exception, app.exception
    return app


def text_of(app: AppTest) -> str:
    elements = [*app.markdown, *app.caption, *app.info, *app.warning, *app.subheader, *app.title]
    return "\n".join(element.value for element in elements).replace("\\", "")


def charts_of(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def drawn_ids(chart: dict) -> set[str]:
    return {item[0] for trace in chart["data"] for item in trace.get("customdata", [])}


def test_says_where_it_looked_when_there_is_no_store(store, app):
    assert f"`{store.root}` does not exist yet" in text_of(opened(app))


def test_says_that_an_empty_store_is_empty(store, app):
    store.root.mkdir()
    assert f"`{store.root}` has no studies" in text_of(opened(app))


def test_says_that_a_study_has_no_records(store, app):
    (store.root / "begun" / "records").mkdir(parents=True)
    assert "There are no records yet." in text_of(opened(app))


def test_a_search_shows_its_findings_chart_and_best_network(store, app):
    records = search_records()
    fill(store, records)
    opened(app)
    best = max(records[:8], key=lambda record: record.score.value)
    text = text_of(app)
    assert "10 records: 8 trained, 1 infeasible, 1 failed." in text
    assert f"Best by score: trial {best.trial}" in text
    assert app.selectbox(key="record of poses").value == best.record_id
    tradeoff, cost, curve = charts_of(app)
    assert drawn_ids(tradeoff) == {record.record_id for record in records[:8]}
    assert "MACs (conv + linear + matmul" in tradeoff["layout"]["xaxis"]["title"]["text"]
    assert tradeoff["data"][0]["error_y"]["array"][0] == pytest.approx(0.03)
    assert cost["layout"]["barmode"] == "stack"
    assert [trace["name"] for trace in curve["data"]] == ["loss", "score"]
    assert "None are known for synthetic_keypoints" in text
    assert len(app.dataframe[-1].value) == 10


def test_stacked_costs_add_up_to_the_network(store, app):
    records = search_records()
    fill(store, records)
    opened(app)
    best = max(records[:8], key=lambda record: record.score.value)
    _, chart, _ = charts_of(app)
    parts = [value for trace in chart["data"] for value in _numbers(trace["y"])]
    assert sum(parts) * 1e6 == pytest.approx(best.cost.macs)


def test_the_menu_shows_why_a_trial_failed(store, app):
    fill(store, search_records())
    opened(app).selectbox(key="record of poses").set_value("00009").run()
    assert not app.exception
    assert "Failed: the loss became NaN at step 7" in text_of(app)


@pytest.mark.parametrize("study", ["first", "second"])
def test_the_address_names_the_study(store, app, study):
    fill(store, search_records("first")[:2])
    fill(store, search_records("second")[:2])
    assert opened(app, study).selectbox(key="study").value == study
    assert text_of(app).count("2 records: 2 trained.") == 1


def test_an_unknown_study_in_the_address_opens_another(store, app):
    fill(store, search_records())
    assert opened(app, "poserz").selectbox(key="study").value == "poses"


def test_scores_of_two_protocols_share_no_chart(store, app):
    short = search_records()[:8]
    long = search_records(steps=900, start=20)[:3]
    fill(store, [*short, *long])
    opened(app)
    assert drawn_ids(charts_of(app)[0]) == {record.record_id for record in short}
    app.selectbox(key="group of poses").set_value(1).run()
    assert drawn_ids(charts_of(app)[0]) == {record.record_id for record in long}
    assert "2 combinations of protocol and input size" in text_of(app)


def test_key_points_and_segmentation_look_alike_and_share_no_chart(store, app):
    people = search_records()[:3]
    spec = lite_hrnet_18().with_outputs(8)
    streets = [
        record_of(spec, 20 + number, score=segmentation_score_of(0.3 + 0.1 * number))
        for number in range(2)
    ]
    fill(store, [*people, *streets])
    opened(app)
    for index, (records, label) in enumerate(
        (
            (people, "AP (0 to 1), synthetic_keypoints at 64x64, 400 images"),
            (streets, "mIoU (0 to 1), synthetic_segmentation at 64x64, 200 images, inference: fit"),
        )
    ):
        app.selectbox(key="group of poses").set_value(index).run()
        assert not app.exception
        chart = charts_of(app)[0]
        assert drawn_ids(chart) == {record.record_id for record in records}
        axis = chart["layout"]["yaxis"]
        assert axis["title"]["text"].replace("<br>", " ") == label
        assert axis["rangemode"] == "nonnegative"
    app.selectbox(key="record of poses").set_value(streets[0].record_id).run()
    text = text_of(app)
    assert "Metrics of synthetic_segmentation (0 to 1)" in text.replace("\\", "")
    shown = [dict(frame.value.itertuples(index=False)) for frame in _fields_of(app)]
    assert any(
        (rows.get("mIoU"), rows.get("mAcc"), rows.get("aAcc")) == ("0.3", "0.4", "0.6")
        for rows in shown
    )
    assert charts_of(app)[2]["layout"]["yaxis2"]["title"]["text"] == "mIoU (validation, 0 to 1)"


def test_input_sizes_share_no_chart(store, app):
    spec, score = lite_hrnet_18(), score_of(0.4)
    other = ImageSize(128, 96)
    fill(store, [record_of(spec, 0, score=score), record_of(spec, 1, size=other, score=score)])
    assert len(drawn_ids(charts_of(opened(app))[0])) == 1


def test_a_latency_chart_holds_only_what_was_measured_alike(store, app):
    records = search_records()[:4]
    foreign = dataclasses.replace(records[0].environment, cpu="Another CPU")
    fill(store, [*records[:3], dataclasses.replace(records[3], environment=foreign)])
    menu = opened(app).selectbox(key="cost of poses")
    index = next(i for i, option in enumerate(menu.options) if "Example CPU" in option)
    menu.select_index(index).run()
    assert not app.exception
    chart = charts_of(app)[0]
    assert drawn_ids(chart) == {record.record_id for record in records[:3]}
    assert "eager, 1 thread, batch 1, float32, on" in chart["layout"]["xaxis"]["title"]["text"]
    assert "1 networks without this cost are left out" in text_of(app)


def test_published_results_stand_in_a_panel_of_their_own(store, app):
    fill(store, [record_of(lite_hrnet_18(), 0, score=score_of(0.4, task="coco_keypoints"))])
    ours, published, *_ = charts_of(opened(app))
    assert drawn_ids(ours) == {"00000"}
    assert not drawn_ids(published)
    assert "as published" in published["layout"]["xaxis"]["title"]["text"]
    assert "Published, not measured here" in text_of(app)


def test_a_study_without_scores_still_shows_its_networks(store, app):
    fill(store, [record_of(lite_hrnet_18(), 0, latencies=(latency_of(12.5),))])
    text = text_of(opened(app))
    assert "No network has been scored" in text
    assert "This network was not trained." in text
    assert len(charts_of(app)) == 1
    assert [metric.value for metric in app.metric][-1] == "12.5 ms"


def test_a_score_of_nan_is_shown(store, app):
    lost = dataclasses.replace(score_of(0.0), value=float("nan"))
    fill(store, [*search_records()[:2], record_of(lite_hrnet_18(), 5, score=lost)])
    menu = opened(app).selectbox(key="record of poses")
    assert menu.value != "00005"
    menu.set_value("00005").run()
    assert not app.exception


def test_a_broken_file_is_named_and_the_others_shown(store, app):
    fill(store, search_records())
    broken = store.root / "poses/records/00042.json"
    broken.write_text("{", encoding="utf-8")
    text = text_of(opened(app))
    assert f"A file that is no record was left out: {broken}" in text
    assert "10 records" in text


def test_reading_again_finds_new_records(store, app):
    first, second, *_ = search_records()
    fill(store, [first])
    assert "1 record: 1 trained." in text_of(opened(app))
    fill(store, [second])
    app.button[0].click().run()
    assert "2 records: 2 trained." in text_of(app)


def test_networks_are_tested_once_until_there_are_new_records(store, app, monkeypatch):
    asked = []

    def counting(*arguments):
        asked.append(arguments)
        return findings(*arguments)

    monkeypatch.setattr(paired_results, "findings", counting)
    first, second, third, *_ = search_records()
    fill(store, [first, second])
    opened(app).selectbox(key="record of poses").set_value(first.record_id).run()
    assert len(asked) == 1
    fill(store, [third])
    app.button[0].click().run()
    assert len(asked) == 2
    assert "3 records: 3 trained." in text_of(app)


def test_a_network_of_unregistered_kinds_is_shown_as_far_as_it_goes(store, app):
    record = search_records()[0]
    spec = json.loads(json.dumps(record.spec))
    spec["stages"][0]["units"][0]["body"][0]["block"] = {"kind": "unheard_of", "rate": 3}
    fill(store, [dataclasses.replace(record, spec=spec), search_records()[1]])
    opened(app).selectbox(key="record of poses").set_value("00000").run()
    assert not app.exception
    assert "Some kinds of this network are not registered here" in text_of(app)
    assert any("unheard_of" in element.proto.body for element in app.get("html"))


def test_how_a_study_searches_is_shown(store, app):
    fill(store, search_records())
    text = '[study]\nobjectives = ["score", "macs"]\nsampler = "tpe"\n[limits]\nmacs = 2e8\n'
    (store.root / "poses/study.toml").write_text(text, encoding="utf-8")
    said = "A search: objectives score, macs; sampler tpe; limits macs at most 200,000,000."
    assert said in text_of(opened(app))


@pytest.fixture
def block_folder(tmp_path, monkeypatch):
    folder = tmp_path / "my_blocks"
    folder.mkdir()
    (folder / "quiet_gate.py").write_text(BLOCK_FILE, encoding="utf-8")
    monkeypatch.setenv(BLOCKS_VARIABLE, str(folder))
    modules = set(sys.modules)
    yield folder
    if "quiet_gate" in SLOTS[Slot.BLOCK]:
        SLOTS[Slot.BLOCK].remove("quiet_gate")
    for name in set(sys.modules) - modules:
        if name.startswith("_branchwork_blocks_"):
            del sys.modules[name]


def test_a_block_file_of_the_user_is_in_the_catalogue(store, app, block_folder):
    opened(app)
    catalogue = opened(page("catalogue_page", "show_catalogue"))
    labels = [expander.label for expander in catalogue.expander]
    assert "**quiet_gate** or **hush**: A block of somebody else's." in labels
    text = text_of(catalogue)
    assert f"Revision 1. Source: `{block_folder / 'quiet_gate.py'}`" in text
    assert any("It does nothing at all." in code.value for code in catalogue.code)
    fields = [table.value for table in catalogue.dataframe if "field" in table.value]
    assert any("how quiet it is" in set(table["meaning"]) for table in fields)


def test_a_broken_block_file_is_named_on_the_page(store, app, block_folder):
    (block_folder / "quiet_gate.py").write_text("1 / 0", encoding="utf-8")
    text = text_of(opened(app))
    assert "quiet_gate.py: a block must import without an error, got ZeroDivisionError" in text
    assert "No studies yet" in text


@pytest.mark.parametrize("slot", list(Slot))
def test_the_catalogue_lists_every_registered_kind(slot):
    app = opened(page("catalogue_page", "show_catalogue"))
    app.segmented_control(key="slot").set_value(slot).run()
    assert not app.exception
    listed = [expander.label for expander in app.expander]
    names = [(entry.name, *entry.aliases) for entry in SLOTS[slot]]
    titles = [" or ".join(f"**{name}**" for name in each) for each in names]
    summaries = [entry.summary for entry in SLOTS[slot]]
    assert listed == [f"{a}: {b}" for a, b in zip(titles, summaries, strict=True)]
    if slot is Slot.BLOCK:
        assert "**conv1x1_shuffle** or **naive_lite_hrnet**" in titles


def test_presets_are_counted_for_the_chosen_task():
    app = opened(page("catalogue_page", "show_catalogue"))
    app.selectbox(key="catalogue task").set_value("mpii_keypoints").run()
    table = next(t.value for t in app.dataframe if "preset" in t.value).set_index("preset")
    assert table.loc["lite_hrnet_18", "params"] == 1_130_728
    assert table.loc["hrnet_w32", "macs"] > 1_000_000_000


def test_outputs_of_tasks_are_those_of_the_tasks():
    assert {name: len(find_task(name).outputs) for name in TASK_OUTPUTS} == TASK_OUTPUTS
    assert {name: find_task(name).default_input for name in TASK_INPUTS} == TASK_INPUTS
    assert set(TASK_INPUTS) == set(TASK_OUTPUTS)


def test_segmentation_presets_are_counted_at_the_size_of_their_task():
    app = opened(page("catalogue_page", "show_catalogue"))
    app.selectbox(key="catalogue task").set_value("cityscapes").run()
    table = next(t.value for t in app.dataframe if "preset" in t.value).set_index("preset")
    assert table.loc["small_hrnet_w16_seg", "macs"] == 8_347_713_536
    assert any("512x1024" in caption.value for caption in app.caption)


def test_published_results_are_marked_and_their_costs_recounted():
    app = opened(page("published_page", "show_published"))
    assert "published, not measured here" in text_of(app)
    results, costs = (table.value for table in app.dataframe)
    assert "Lite-HRNet-18" in set(results["network"])
    row = costs[(costs["preset"] == "lite_hrnet_30") & (costs["input"] == "384x288")].iloc[0]
    assert row["FLOPs published"] == row["FLOPs counted"] == "717.8 M"


@pytest.mark.parametrize("task", ["mpii_keypoints", "cityscapes"])
def test_every_published_protocol_opens(task):
    app = opened(page("published_page", "show_published"))
    app.selectbox(key="published task").set_value(task).run()
    for index in range(len(app.selectbox(key=f"published protocol of {task}").options)):
        app.selectbox(key=f"published protocol of {task}").select_index(index).run()
        assert not app.exception
        shown = len(charts_of(app)) + ("No parameters are published" in text_of(app))
        assert shown == 1


def test_the_downloaded_spec_is_the_network(store, app):
    record = record_of(lite_hrnet_18(), 0, size=SIZE)
    fill(store, [record])
    code = next(c.value for c in opened(app).code if c.language == "json")
    assert json.loads(code) == spec_to_dict(lite_hrnet_18())


def page(module: str, function: str) -> AppTest:
    script = f"from dashboard.{module} import {function}\n{function}()"
    return AppTest.from_string(script, default_timeout=60)


def _fields_of(app: AppTest) -> list:
    return [frame for frame in app.dataframe if list(frame.value.columns) == ["", "value"]]


def _numbers(values: object) -> list[float]:
    """Reads what Plotly may have packed into base 64."""
    if isinstance(values, list):
        return values
    return list(np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]))
