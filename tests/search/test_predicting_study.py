"""Latencies that a study predicts: resolved, recorded, limited, and the same to the end."""

from __future__ import annotations

import pytest
from fake_engine import FakeEngine
from made_calibrations import made_calibration

from analysis.calibration_files import default_path, write_calibration
from analysis.records import Status
from blocks import BranchworkError, ImageSize, StudyError
from networks import spec_from_dict
from search import load_search, run_search

pytestmark = pytest.mark.usefixtures("quick_latency")

OBJECTIVES = 'objectives = ["macs", "predicted.onnxruntime"]'


@pytest.fixture
def calibration(store):
    made = made_calibration(count=12)
    write_calibration(made, default_path(store.root, "onnxruntime", 1))
    return made


def test_predictions_are_objectives_and_say_what_they_are(make_study, store, calibration):
    study = make_study(trials=3, study=OBJECTIVES)
    assert study.runtimes == ()
    run_search(study, store, FakeEngine)
    records = store.load("tiny").records
    assert len({record.spec_id for record in records}) == 3
    for record in records:
        (latency,) = record.latencies
        assert (latency.runtime, latency.verdict) == ("predicted.onnxruntime", "predicted")
        expected_ms = calibration.predict_ms(spec_from_dict(record.spec), ImageSize(64, 64))
        assert latency.p50_ms == pytest.approx(expected_ms)
        assert calibration.fingerprint in latency.version
        assert study.objectives[1].value(record) == latency.p50_ms
        assert study.objectives[1].latency([]) is None


def test_a_network_over_a_predicted_limit_is_neither_measured_nor_trained(
    make_study, store, calibration
):
    study = make_study(trials=6, limits='"predicted.onnxruntime" = 1e-6')
    engine = FakeEngine()
    run_search(study, store, lambda: engine)
    records = store.load("tiny").records
    assert records
    assert {record.status for record in records} == {Status.INFEASIBLE}
    assert all("predicted.onnxruntime" in record.reason for record in records)
    assert not engine.submitted
    assert not engine.num_quiet


def test_a_study_goes_on_with_the_calibration_that_it_began_with(make_study, store, calibration):
    study = make_study(trials=2, study=OBJECTIVES)
    again = load_search("tiny", store)
    assert again.calibrations == study.calibrations
    assert again.definition["calibrations.onnxruntime"] == calibration.fingerprint
    write_calibration(
        made_calibration(seed=1, count=12), default_path(store.root, "onnxruntime", 1)
    )
    with pytest.raises(StudyError, match="put the calibration back"):
        load_search("tiny", store)


def test_a_study_without_its_calibration_says_how_to_get_one(make_study):
    with pytest.raises(BranchworkError, match="branchwork calibrate"):
        make_study(study=OBJECTIVES)


def test_a_calibration_that_nothing_asks_for_is_told(make_study):
    with pytest.raises(StudyError, match=r"calibrations\.eager"):
        make_study(limits='[calibrations]\neager = "mine.json"')
