"""The sample that ships in ``runs/``: its networks can be compared, reported and browsed."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from analysis.image_results_store import ImageResultsStore
from analysis.store import RunStore
from analysis.tables import front, protocols
from tasks import results_type

TESTED = "tested against it on the same images"
CLAIM = "not of their architectures: one seed each"


@pytest.fixture(scope="module")
def store(root) -> RunStore:
    return RunStore(root / "runs")


@pytest.fixture(scope="module")
def best(store):
    """The two best networks of the front."""
    (group,) = protocols(store.load("sample").records)
    return front(group.records, ["macs", "score"])[:2]


def test_every_score_of_the_sample_follows_from_its_image_results(store):
    kept = ImageResultsStore(store)
    scored = [record for record in store.load("sample").records if record.score]
    assert len(scored) >= 30
    for record in scored:
        results = kept.results(record, results_type(record.task))
        assert results.metrics == pytest.approx(record.score.metrics, nan_ok=True)
        assert 0 < record.score.metrics["PCK@0.1"] < 1


@pytest.mark.parametrize("metric", ["AP", "PCK@0.1"])
def test_two_networks_of_the_sample_are_compared(command, root, best, metric):
    names = [record.reference for record in best]
    words = ("--metric", metric, "--permutations", "500", "--runs", root / "runs", "--json")
    made = command("compare", *names, *words)
    assert made.code == 0, made.err
    found = json.loads(made.out)
    assert (found["metric"], found["rests_on"]) == (metric, "images")
    (pair,) = found["pairs"]
    assert {pair["first"], pair["second"]} == set(names)
    scores = [record.score.metrics[metric] for record in best]
    assert abs(pair["difference"]) == pytest.approx(abs(scores[0] - scores[1]))
    assert (pair["num_permutations"], pair["num_images"]) == (500, 400)


def test_the_report_and_the_page_of_the_sample_rest_on_paired_tests(
    command, root, tmp_path, monkeypatch
):
    assert command("report", "sample", "--runs", root / "runs", "--out", "sample.html").code == 0
    page = (tmp_path / "sample.html").read_text(encoding="utf-8")
    assert TESTED in page
    assert CLAIM in page
    monkeypatch.setenv("BRANCHWORK_RUNS", str(root / "runs"))
    app = AppTest.from_file(str(root / "dashboard/app.py"), default_timeout=60)
    app.query_params["study"] = "sample"
    app.run()
    assert not app.exception
    shown = app.markdown[0].value.replace("\\", "")
    assert TESTED in shown
    assert CLAIM in shown
