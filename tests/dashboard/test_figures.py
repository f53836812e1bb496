"""Figures for reports: what they refuse to mix, and what stands at their axes."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree as ET

import pytest
from dashboard_records import record_of, score_of, search_records, segmentation_score_of
from matplotlib.colors import to_hex

from analysis.figures import (
    FRONT_COLOUR,
    SLOT_COLOURS,
    cost_figure,
    curves_figure,
    figure_svg,
    published_figure,
    save_figure,
    tradeoff_figure,
)
from analysis.published import MARK, published_protocols
from analysis.report import study_report
from analysis.tables import front
from blocks import BranchworkError, ImageSize
from networks import lite_hrnet_18


def test_a_tradeoff_shows_every_score_once_and_marks_the_front():
    records = search_records()
    figure = tradeoff_figure(records)
    axes = figure.axes[0]
    drawn = {c.get_label(): c.lines[0].get_xydata() for c in axes.containers}
    best = front(records, ["score", "macs"])
    on_front = drawn["front: none is better in both"]
    assert len(on_front) + len(drawn["other networks"]) == 8
    expected = sorted((record.cost.macs / 1e6, record.score.value) for record in best)
    assert on_front.flatten() == pytest.approx([value for point in expected for value in point])
    assert "MACs (conv + linear + matmul" in axes.get_xlabel()
    assert (
        axes.get_ylabel().replace("\n", " ")
        == "AP (0 to 1), synthetic_keypoints at 64x64, 400 images"
    )


@pytest.mark.parametrize("draw", [tradeoff_figure, curves_figure])
def test_scores_that_do_not_compare_are_refused(draw):
    spec = lite_hrnet_18()
    one = record_of(spec, 0, score=score_of(0.4))
    for other in (
        record_of(spec, 1, score=score_of(0.4, steps=900)),
        record_of(spec, 1, score=score_of(0.4), size=ImageSize(96, 64)),
    ):
        with pytest.raises(BranchworkError, match="scores are compared only under one protocol"):
            draw([one, other])


def test_a_report_of_two_tasks_names_both_and_draws_each_by_itself():
    spec = lite_hrnet_18()
    streets = record_of(spec.with_outputs(8), 20, score=segmentation_score_of(0.3))
    page = study_report("poses", [record_of(spec, 0, score=score_of(0.0)), streets])
    assert "synthetic_keypoints, synthetic_segmentation at 64x64; 2 records" in page
    heads = [part.split("</h2>")[0] for part in page.split("<h2>Accuracy against cost: ")[1:]]
    assert heads == [
        "AP (0 to 1), synthetic_keypoints at 64x64, 400 images",
        "mIoU (0 to 1), synthetic_segmentation at 64x64, 200 images, inference: fit",
    ]


def test_no_axis_promises_scores_below_0():
    spec = lite_hrnet_18()
    records = [
        record_of(spec, number, score=dataclasses.replace(score_of(0.0), low=0.0, high=0.0))
        for number in range(2)
    ]
    low, high = tradeoff_figure(records).axes[0].get_ylim()
    assert -0.03 * high <= low <= 0 < high


def test_latencies_of_two_machines_are_refused():
    first, second, *_ = search_records()
    elsewhere = dataclasses.replace(second.environment, cpu="Another CPU")
    with pytest.raises(BranchworkError, match="only under one set of conditions"):
        tradeoff_figure(
            [first, dataclasses.replace(second, environment=elsewhere)], "latency.eager"
        )


@pytest.mark.parametrize("measure", ["macs", "params"])
def test_stacked_costs_add_up(measure):
    record = record_of(lite_hrnet_18(), 0)
    axes = cost_figure(record, measure).axes[0]
    total = sum(bar.get_height() for container in axes.containers for bar in container)
    assert total * 1e6 == pytest.approx(getattr(record.cost, measure))


@pytest.mark.parametrize("task", ["coco_keypoints", "mpii_keypoints", "cityscapes"])
def test_no_two_published_families_look_alike(task):
    assert published_protocols(task)
    for protocol in published_protocols(task):
        figure = published_figure(task, protocol)
        axes = figure.axes[0]
        looks = [(line.get_marker(), to_hex(line.get_color())) for line in axes.lines]
        assert len(set(looks)) == len(looks)
        assert axes.get_title(loc="left").startswith(MARK)


def test_figures_are_valid_svg_that_repeats(tmp_path):
    records = search_records()[:3]
    first, second = (figure_svg(tradeoff_figure(records)) for _ in range(2))
    assert first == second
    assert FRONT_COLOUR in first
    ET.fromstring(first)
    assert save_figure(cost_figure(records[0]), tmp_path / "a" / "cost.pdf").stat().st_size > 1000
    assert all(colour in figure_svg(cost_figure(records[0])) for colour in SLOT_COLOURS.values())
