"""Nothing that does not compare meets in a table, a front or a sentence."""

import json
import math
from dataclasses import replace

import pytest
from made_records import PROTOCOL, cost, latency, record, score

from analysis.axes import cost_axis, score_label, write_score
from analysis.comparing import (
    latency_conditions,
    protocols,
    require_one_conditions,
    require_one_input,
    require_one_protocol,
)
from analysis.conventions import CONVENTIONS
from analysis.cost import By, break_down
from analysis.latency import RUNTIMES
from analysis.objectives import objective, objective_names
from analysis.records import Status
from analysis.tables import (
    cost_table,
    front,
    latency_table,
    objective_values,
    record_label,
    records_table,
)
from blocks import BranchworkError, ImageSize, StudyError

OTHER = replace(PROTOCOL, schedule={"steps": 9})
GOOD = record("good", scored=score(0.6, 0.5, 0.7), latencies=(latency(3.0),), trial=0)
CHEAP = record("cheap", "naive_lite_hrnet_18", scored=score(0.4, 0.3, 0.5), trial=1)
WORSE = record("worse", "hrnet_w32", scored=score(0.5, 0.4, 0.6), latencies=(latency(2.0),))
FOREIGN = record("foreign", scored=score(0.9, 0.8, 1.0, protocol=OTHER))
LARGE = record("large", size=ImageSize(128, 96), scored=score(0.9, 0.8, 1.0))


def test_scores_are_grouped_by_protocol_and_input():
    groups = protocols([FOREIGN, GOOD, LARGE, CHEAP, record("profiled")])
    assert [[r.record_id for r in group.records] for group in groups] == [
        ["good", "cheap"],
        ["foreign"],
        ["large"],
    ]
    assert groups[0].label == "AP on coco_keypoints at 64x64 (protocol 25d75c648f95)"
    assert score_label(groups[0]) == (
        "AP (0 to 1), coco_keypoints at 64x64, 50 images, boxes: ground truth"
    )


@pytest.mark.parametrize("records", [[GOOD, FOREIGN], [GOOD, LARGE], [record("profiled")], []])
def test_scores_that_do_not_compare_are_refused(records):
    with pytest.raises(BranchworkError, match="only under one protocol and at one input size"):
        require_one_protocol(records)


def test_scores_of_one_protocol_are_let_through():
    assert require_one_protocol([GOOD, CHEAP]).records == (GOOD, CHEAP)


@pytest.mark.parametrize(
    "other",
    [
        record("x", latencies=(latency(1.0, threads=2),)),
        record("x", latencies=(latency(1.0, batch=8),)),
        record("x", latencies=(latency(1.0, dtype="bfloat16"),)),
        record("x", latencies=(latency(1.0),), cpu="Another CPU"),
    ],
    ids=["threads", "batch", "dtype", "machine"],
)
def test_latencies_of_different_conditions_are_refused(other):
    records = [GOOD, other]
    assert len(latency_conditions(records)) == 2
    for call in (
        lambda: require_one_conditions(records, "latency.eager"),
        lambda: objective_values(records, "latency.eager"),
        lambda: front([GOOD, replace(other, score=GOOD.score)], ["score", "latency.eager"]),
        lambda: cost_axis("latency.eager", records),
    ):
        with pytest.raises(BranchworkError, match="only under one set of conditions"):
            call()


def test_a_whole_name_of_conditions_chooses_among_them():
    records = [record("x", latencies=(latency(1.0, threads=2), latency(4.0)))]
    assert objective_values(records, "latency.eager.t2.b1.float32") == [1.0]
    assert objective_values(records, "latency.eager.t1.b1.float32") == [4.0]


def test_networks_at_two_inputs_are_refused_for_costs_too():
    with pytest.raises(BranchworkError, match="only at one input size"):
        require_one_input([GOOD, LARGE])
    with pytest.raises(BranchworkError, match="only at one input size"):
        objective_values([GOOD, LARGE], "macs")
    with pytest.raises(BranchworkError, match="only at one input size"):
        front([GOOD, LARGE], ["params", "macs"])


def test_the_front_holds_what_no_other_beats_best_last_objective_first():
    assert [r.record_id for r in front([GOOD, WORSE, CHEAP], ["score", "macs"])] == [
        "cheap",
        "good",
    ]
    assert [r.record_id for r in front([GOOD, WORSE, CHEAP], ["score", "latency.eager"])] == [
        "worse",
        "good",
    ]
    assert front([record("profiled")], ["score", "macs"]) == ()


def test_the_front_leaves_out_repeats_and_what_was_not_tried():
    again = replace(GOOD, record_id="again", reused_from="s/good")
    elsewhere = replace(GOOD, record_id="elsewhere", reused_from="other/good")
    over = replace(CHEAP, record_id="over", status=Status.INFEASIBLE, score=None)
    failed = replace(over, record_id="failed", status=Status.FAILED)
    records = [GOOD, again, elsewhere, over, failed]
    assert [r.record_id for r in front(records, ["score", "macs"])] == ["good", "elsewhere"]
    assert {r.record_id for r in front(records, ["params", "macs"])} == {"good", "elsewhere"}


def test_objectives_read_records_and_say_nan_where_there_is_nothing():
    names = objective_names(("mean_oks", "AR"))
    values = {name: objective(name).value(GOOD) for name in names}
    assert values["score"] == 0.6
    assert values["score.mean_oks"] == 0.3
    assert values["macs"] == cost("lite_hrnet_18", GOOD.input).macs
    assert values["latency.eager"] == 3.0
    assert math.isnan(values["score.AR"])
    bare = replace(GOOD, score=None, cost=None, latencies=())
    assert all(math.isnan(objective(name).value(bare)) for name in names)
    assert [name for name in names if not objective(name).maximise] == [
        *CONVENTIONS,
        *(f"latency.{name}" for name in RUNTIMES),
        *("predicted.eager", "predicted.onnxruntime", "predicted.openvino"),
    ]


def test_an_unknown_objective_is_refused_with_the_nearest():
    with pytest.raises(StudyError, match=r"did you mean 'latency\.eager'"):
        objective("latency.eagre")


def test_metrics_are_those_that_the_task_has():
    assert objective("score.mIoU", metrics=("mIoU", "mAcc")).name == "score.mIoU"
    assert objective("score.anything").maximise
    with pytest.raises(StudyError, match=r"got 'score\.mIou'; did you mean 'score\.mIoU'"):
        objective("score.mIou", metrics=("mIoU", "mAcc"))
    with pytest.raises(StudyError, match=r"got 'score\.AP'; "):
        objective("score.AP", metrics=("mIoU", "mAcc"))
    with pytest.raises(StudyError, match=r"got 'score\.'; "):
        objective("score.")
    with pytest.raises(StudyError, match=r"did you mean 'score\.mean_oks'"):
        objective_values([GOOD], "score.mean_ok")


def test_of_several_latencies_the_one_with_the_fewest_threads_counts():
    (one,) = GOOD.latencies
    others = [replace(one, threads=4, p50_ms=1.0), replace(one, batch=8, p50_ms=2.0)]
    for order in ([*others, one], [one, *others]):
        assert objective("latency.eager").value(replace(GOOD, latencies=tuple(order))) == 3.0


def test_axes_name_convention_unit_and_conditions():
    assert cost_axis("macs", [GOOD]).label == (
        "MACs (conv + linear + matmul, each executed call once, 1 image), M"
    )
    assert cost_axis("params", [GOOD]).write(1_125_000) == "1.125 M"
    assert cost_axis("thop", [GOOD]).label == "Counted as thop (1 image), M"
    assert cost_axis("latency.eager", [GOOD]).label == (
        "Median latency (eager, 1 thread, batch 1, float32, on A CPU), ms"
    )
    assert write_score(score(0.4123, 0.38, 0.4406)) == "AP 0.412 (0.380 to 0.441)"


def test_the_table_of_records_has_every_record_and_names_every_latency():
    failed = replace(
        record("failed", trial=2, choices={"branches": 3}),
        status=Status.FAILED,
        cost=None,
        reason="the loss became nan",
    )
    table = records_table([GOOD, failed]).set_index("record_id")
    assert table.loc["good", "score"] == 0.6
    assert table.loc["good", "latency.eager.t1.b1.float32_p50_ms"] == 3.0
    assert table.loc["failed", "reason"] == "the loss became nan"
    assert json.loads(table.loc["failed", "choices"]) == {"branches": 3}
    assert table.loc["failed", ["macs", "score", "seed"]].isna().all()
    assert table["macs"].dtype == "Int64"
    assert records_table([]).empty


def test_tables_of_one_record_add_up():
    table = cost_table(GOOD)
    assert table["macs"].sum() == GOOD.cost.macs
    assert table["params"].sum() == GOOD.cost.params
    assert latency_table(GOOD).loc[0, ["median_ms", "machine", "verdict"]].tolist() == [
        3.0,
        "A CPU",
        "quiet",
    ]
    assert record_label(GOOD) == f"trial 0: lite_hrnet_18 [{GOOD.spec_id}]"


@pytest.mark.parametrize("by", By)
def test_parts_of_a_cost_add_up_to_the_whole(by):
    from made_records import SIZE, network

    parts = break_down(network().operations(SIZE), by)
    assert len(parts) > 1
    whole = cost("lite_hrnet_18", SIZE)
    for name, count in whole.conventions.items():
        if name != "paper":
            assert sum(part.conventions[name] for part in parts) == count
