"""Records go to disk and back whole, and the store keeps every one of them."""

import contextlib
import dataclasses
import errno
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import ENVIRONMENT, PROTOCOL, SIZE, latency, network, record, score

from analysis.cost import Cost
from analysis.environment import current_environment
from analysis.latency import Latency
from analysis.records import (
    CurvePoint,
    Protocol,
    Record,
    Score,
    Status,
    record_from_dict,
    record_to_dict,
)
from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, StudyError
from networks import spec_id

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 10**12)
TEXTS = st.text(max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | COUNTS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(TEXTS, PLAIN, max_size=3)
SIZES = st.builds(ImageSize, st.integers(1, 999), st.integers(1, 999))
COSTS = st.builds(
    Cost,
    input=SIZES,
    params=COUNTS,
    macs=COUNTS,
    conventions=st.dictionaries(TEXTS, COUNTS, max_size=3),
)
LATENCIES = st.builds(
    Latency,
    runtime=TEXTS,
    input=SIZES,
    batch=COUNTS,
    threads=COUNTS,
    dtype=TEXTS,
    num_runs=COUNTS,
    p50_ms=FLOATS,
    p90_ms=FLOATS,
    min_ms=FLOATS,
    verdict=TEXTS,
    rewritten=st.booleans(),
    p99_ms=st.none() | FLOATS,
    cv=st.none() | FLOATS,
    max_abs_diff=st.none() | FLOATS,
    kernels=st.none() | COUNTS,
    version=TEXTS,
)
PROTOCOLS = st.builds(
    Protocol,
    task=TEXTS,
    data=st.dictionaries(TEXTS, TEXTS, max_size=2),
    schedule=TABLES,
    evaluation=TABLES,
)
SCORES = st.builds(
    Score,
    metric=TEXTS,
    value=FLOATS,
    low=FLOATS,
    high=FLOATS,
    num_resamples=COUNTS,
    num_images=COUNTS,
    metrics=st.dictionaries(TEXTS, FLOATS, max_size=3),
    protocol=PROTOCOLS,
    protocol_id=TEXTS,
    seed=COUNTS,
)
POINTS = st.builds(CurvePoint, step=COUNTS, loss=FLOATS, score=st.none() | FLOATS, elapsed_s=FLOATS)
ENVIRONMENTS = st.builds(
    lambda cpu, packages: replace(ENVIRONMENT, cpu=cpu, packages=packages, accelerator=cpu),
    TEXTS,
    st.dictionaries(TEXTS, TEXTS, max_size=3),
)
RECORDS = st.builds(
    Record,
    record_id=TEXTS,
    study=TEXTS,
    status=st.sampled_from(Status),
    network=TEXTS,
    spec=TABLES,
    spec_id=TEXTS,
    task=TEXTS,
    num_outputs=COUNTS,
    input=SIZES,
    cost=st.none() | COSTS,
    environment=ENVIRONMENTS,
    latencies=st.lists(LATENCIES, max_size=2).map(tuple),
    score=st.none() | SCORES,
    curve=st.lists(POINTS, max_size=2).map(tuple),
    created=TEXTS,
    trial=st.none() | COUNTS,
    choices=TABLES,
    reason=TEXTS,
    reused_from=TEXTS,
    train_s=FLOATS,
    num_skipped_images=COUNTS,
)


@given(RECORDS)
def test_every_field_survives_the_way_through_json(made):
    assert record_from_dict(json.loads(json.dumps(record_to_dict(made))), "x") == made


def test_the_property_above_covers_every_field():
    drawn = {"input", *RECORDS.wrapped_strategy.kwargs}
    assert drawn == {field.name for field in dataclasses.fields(Record)}


def test_numbers_that_json_lacks_come_back_as_nan(tmp_path):
    store = RunStore(tmp_path)
    path = store.write(record("a", scored=score(math.nan, -math.inf, math.inf)))
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()
    back = RunStore(tmp_path).read(path).score
    assert all(map(math.isnan, (back.value, back.low, back.high, back.metrics["AP"])))


def test_protocol_id_changes_with_every_part_but_not_with_order():
    swapped = replace(PROTOCOL, data=dict(reversed(PROTOCOL.data.items())))
    assert swapped.protocol_id == PROTOCOL.protocol_id == "25d75c648f95"
    others = [
        replace(PROTOCOL, task="x"),
        replace(PROTOCOL, data={"train": "a", "val": "c"}),
        replace(PROTOCOL, schedule={"steps": 3}),
        replace(PROTOCOL, evaluation={"boxes": "detector"}),
    ]
    assert len({PROTOCOL.protocol_id, *(each.protocol_id for each in others)}) == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a record is readable JSON"),
        ("{", "a record is readable JSON"),
        ("[]", "a record is an object of format 1"),
        ('{"format": 2}', "read it with the version of Branchwork that wrote it"),
        ('{"format": 1}', "missing"),
        ('{"format": 1, "colour": "red"}', "colour"),
    ],
)
def test_a_file_that_is_no_record_is_named_and_the_others_are_read(tmp_path, text, says):
    store = RunStore(tmp_path)
    store.write(record("good"))
    broken = tmp_path / "s" / "records" / "broken.json"
    broken.write_text(text)
    loaded = store.load("s")
    assert [each.record_id for each in loaded.records] == ["good"]
    assert len(loaded.broken) == 1
    assert str(broken) in loaded.broken[0]
    assert says in loaded.broken[0]


@pytest.mark.parametrize(
    "change",
    [{"status": "fine"}, {"trial": "1"}, {"input": "64"}, {"train_s": "1"}, {"latencies": {}}],
    ids=str,
)
def test_a_field_of_another_type_is_refused(change):
    data = record_to_dict(record("a")) | change
    with pytest.raises(BranchworkError, match="a record holds the fields"):
        record_from_dict(data, "x")


def test_a_record_is_never_overwritten(tmp_path):
    store = RunStore(tmp_path)
    path = store.write(record("a", reason="first"))
    before = path.read_bytes()
    with pytest.raises(StudyError, match="a record is never changed"):
        store.write(record("a", reason="second"))
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]


def test_a_record_is_never_overwritten_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(os, "link", link)
    test_a_record_is_never_overwritten(tmp_path)


def test_a_writer_that_is_cut_off_leaves_no_record(tmp_path, monkeypatch):
    def fsync(_):
        raise KeyboardInterrupt

    store = RunStore(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        store.write(record("a"))
    monkeypatch.undo()
    assert store.load("s").records == store.load("s").broken == ()
    store.write(record("a"))
    assert len(store.load("s").records) == 1


def test_of_writers_at_the_same_time_one_wins_each_record(tmp_path):
    def write(worker):
        won = 0
        for index in range(20):
            with contextlib.suppress(StudyError):
                RunStore(tmp_path).write(record(f"r{index}", reason=f"writer {worker}"))
                won += 1
        return won

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(4))) == 20
    loaded = RunStore(tmp_path).load("s")
    assert (len(loaded.records), loaded.broken) == (20, ())


def test_a_file_is_read_again_only_when_it_changed(tmp_path):
    store = RunStore(tmp_path)
    path = store.write(record("a"))
    assert store.read(path) is store.read(path)
    path.write_text(path.read_text().replace('"reason": ""', '"reason": "edited"'))
    assert store.read(path).reason == "edited"


@pytest.mark.parametrize("name", ["", "..", ".a", "a/b", "a b", "ä"])
def test_names_that_are_no_folder_s_are_refused(tmp_path, name):
    with pytest.raises(StudyError, match="a name has letters"):
        RunStore(tmp_path).study_folder(name)


def test_a_study_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    store = RunStore(tmp_path)
    store.write(record("a", study="widths"))
    with pytest.raises(StudyError, match="did you mean 'widths'"):
        store.require_study("width")
    assert store.studies() == ("widths",)
    assert RunStore(tmp_path / "none").studies() == ()


def test_a_score_is_found_only_under_what_it_was_made(tmp_path):
    store = RunStore(tmp_path)
    store.write(record("a", scored=score(0.5, 0.4, 0.6, seed=3)))
    store.write(record("b", scored=score(0.5, 0.4, 0.6, seed=4), reused_from="s/a"))
    identity, protocol = spec_id(network()), PROTOCOL.protocol_id
    assert store.find_score(identity, protocol, "64x64", 3).record_id == "a"
    assert store.find_score(identity, protocol, "64x64", 4) is None
    assert store.find_score(identity, protocol, "64x96", 3) is None
    assert store.find_score(identity, "0" * 12, "64x64", 3) is None
    assert store.find_score("0" * 12, protocol, "64x64", 3) is None
    assert store.find_spec(identity).record_id == "a"
    assert store.find_spec("0" * 12) is None


def test_the_environment_names_conditions_and_no_machine():
    found = current_environment()
    assert found.cpu
    assert found.num_cores >= 1
    assert found.memory_bytes > 2**28
    assert {"torch", "optuna"} <= found.packages.keys()
    assert os.uname().nodename not in json.dumps(dataclasses.asdict(found))


def test_latencies_of_a_record_keep_their_conditions(tmp_path):
    made = record("a", latencies=(latency(3.0), latency(2.0, threads=2, verdict="busy")), size=SIZE)
    path = RunStore(tmp_path).write(made)
    assert RunStore(tmp_path).read(path) == made


def test_a_latency_of_an_older_version_is_read_without_what_it_did_not_say():
    data = record_to_dict(record("a", latencies=(latency(3.0),)))
    for name in ("rewritten", "p99_ms", "cv", "max_abs_diff", "kernels", "version"):
        del data["latencies"][0][name]
    assert record_from_dict(json.loads(json.dumps(data)), "x").latencies == (latency(3.0),)
