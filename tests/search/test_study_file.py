"""A study file is read whole or refused with everything that is wrong with it."""

import json

import pytest

from analysis.store import RunStore
from blocks import ImageSize, StudyError
from networks import PRESETS, spec_id, spec_to_dict
from search import default_workers, load_search, read_study, start_search, write_study
from training import SCHEDULES

GOOD = """
[study]
name = "widths"
base = "lite_hrnet_18"
task = "coco_keypoints"
data = "data/coco"
input = "128x96"
schedule = "short"
objectives = ["score.mean_oks", "latency.eager", "macs"]
sampler = "random"
trials = 7
seed = 3
workers = 2

[task]
val_split = "val2014"

[limits]
macs = 200e6
latency.eager = 20

[free]
branches = [4, 3, 3]
widths = [[40, 80, 160, 320], [30, 60, 120, 240]]
"stages.*.units.*.fusion" = ["sum", "released"]
"stages.0.units.0.fusion" = ["sum"]
block = "all"
"""


@pytest.fixture
def read(tmp_path):
    def read_text(text, **options):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return read_study(path, store=RunStore(tmp_path / "runs"), **options)

    return read_text


def test_every_setting_is_read(read, tmp_path):
    study = read(GOOD)
    assert (study.name, study.task_name, study.sampler) == ("widths", "coco_keypoints", "random")
    assert (study.trials, study.seed, study.workers) == (7, 3, 2)
    assert study.input == ImageSize(128, 96)
    assert study.schedule == SCHEDULES["short"]
    assert study.task.val_split == "val2014"
    assert str(study.data) == "data/coco"
    assert [item.name for item in study.objectives] == ["score.mean_oks", "latency.eager", "macs"]
    assert {limit.objective.name: limit.largest for limit in study.limits} == {
        "macs": 200e6,
        "latency.eager": 20.0,
    }
    assert study.needs_score
    assert default_workers(study) == 2
    assert read(GOOD, data=tmp_path).data == tmp_path


def test_globs_and_all_are_written_out_and_choices_sorted(read):
    choices = {d.address: d.choices for d in read(GOOD).space.dimensions}
    assert list(choices) == sorted(choices)
    assert choices["branches"] == (3, 4)
    assert choices["widths"] == ([30, 60, 120, 240], [40, 80, 160, 320])
    assert choices["stages.0.units.0.fusion"] == ("sum",)
    assert choices["stages.1.units.2.fusion"] == ("released", "sum")
    assert {"basic", "ccw", "conv1x1_shuffle"} <= set(choices["block"])
    assert not any("*" in address for address in choices)


def test_the_resolved_file_is_the_same_study_for_good(read, tmp_path):
    study = read(GOOD)
    write_study(study, tmp_path / "resolved.toml")
    text = (tmp_path / "resolved.toml").read_text()
    again = read(text)
    assert again.data == study.data.resolve()
    assert again == read(GOOD, data=again.data)
    write_study(again, tmp_path / "twice.toml")
    assert (tmp_path / "twice.toml").read_text() == text
    assert not (tmp_path / ".twice.toml.tmp").exists()


def test_little_is_needed(read):
    study = read('[study]\nname = "a"\nbase = "lite_hrnet_18"\ntask = "synthetic_keypoints"\n')
    assert [item.name for item in study.objectives] == ["score", "macs"]
    assert study.input == ImageSize(96, 64)
    assert (study.data, study.trials, study.limits) == (None, 20, ())
    assert study.space.size == 1
    assert default_workers(study) >= 1


def test_a_base_can_be_a_file_or_a_spec_id_in_the_store(read, tmp_path):
    from search import make_record

    spec = PRESETS["mobilenet_v2"].make(17)
    (tmp_path / "mine.json").write_text(json.dumps(spec_to_dict(spec)))
    assert (
        read(GOOD.partition("[free]")[0].replace("lite_hrnet_18", "mine.json")).space.base == spec
    )
    record = make_record(
        record_id="a",
        study="s",
        status="profiled",
        network="mobilenet_v2",
        spec=spec,
        task_name="coco_keypoints",
        size=ImageSize(64, 64),
    )
    RunStore(tmp_path / "runs").write(record)
    by_id = GOOD.partition("[free]")[0].replace("lite_hrnet_18", spec_id(spec))
    assert read(by_id).space.base == spec


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[study]", "[study", "a study file is readable TOML"),
        ("[limits]", "[limit]", "limit: a study file has the tables .* did you mean 'limits'"),
        ("trials = 7", "trails = 7", "study.trails: .* did you mean 'trials'"),
        ('name = "widths"', "", "study.name: .* got nothing; add name"),
        ('name = "widths"', 'name = "a/b"', "a name has letters"),
        ('name = "widths"', "name = 3", "study.name: this is text, got 3"),
        ('"lite_hrnet_18"', '"lite_hrnet_19"', "study.base: .* did you mean 'lite_hrnet_18'"),
        ('"lite_hrnet_18"', "3", "study.base: the base is a preset, a spec file"),
        ('"lite_hrnet_18"', "{stem = 3}", "stem"),
        ('"coco_keypoints"', '"coco_keypoint"', "did you mean 'coco_keypoints'"),
        ('data = "data/coco"', "data = 3", "study.data: this is text, got 3"),
        ('"128x96"', '"128"', "study.input: an image size is HEIGHTxWIDTH"),
        ('"128x96"', "128", "study.input: this is text"),
        ('"short"', '"shirt"', "study.schedule: .* did you mean 'short'"),
        ('"short"', "{step = 3}", "study.schedule.step: .* did you mean 'steps'"),
        ('"short"', '{base = "short", lr = -1.0}', "schedule.lr: a learning rate is"),
        ('"macs"]', '"mac"]', "study.objectives: .* did you mean 'macs'"),
        ('"macs"]', '"latency.eager"]', "study.objectives: .* each named once"),
        ('["score.mean_oks", "latency.eager", "macs"]', "[]", "study.objectives: .* at least one"),
        ('["score.mean_oks", "latency.eager", "macs"]', '"macs"', "study.objectives: .* list"),
        ('"random"', '"tpa"', "study.sampler: .* did you mean 'tpe'"),
        ('"random"', "[1]", "study.sampler: a study uses a known sampler"),
        ("trials = 7", "trials = 0", "study.trials: this is a whole number of at least 1, got 0"),
        ("trials = 7", "trials = 7.0", "study.trials: this is a whole number"),
        ("seed = 3", "seed = -1", "study.seed: this is a whole number of at least 0"),
        ("workers = 2", "workers = true", "study.workers: this is a whole number"),
        (
            'val_split = "val2014"',
            'val_splits = "x"',
            "task.val_splits: the task has the options .* did you mean",
        ),
        ('val_split = "val2014"', "flip_test = 1", "task.flip_test: .* got 1; write true"),
        ("macs = 200e6", "mac = 200e6", "limits.mac: .* did you mean 'macs'"),
        ("macs = 200e6", "macs = 0", "limits.macs: a limit is the largest value"),
        ("macs = 200e6", "macs = nan", "limits.macs: a limit is the largest value"),
        ("macs = 200e6", 'macs = "1"', "limits.macs: a limit is the largest value"),
        ("macs = 200e6", "score = 0.5", "limits.score: a limit is the largest value of a cost"),
        ("latency.eager = 20", "latency.onnx = 20", "limits.latency.onnx: .* did you mean"),
        ("branches = [4, 3, 3]", "branch = [3]", "free.branch: .* did you mean 'branches'"),
        ("branches = [4, 3, 3]", "branches = 3", "branches: a free address has a list"),
        ("branches = [4, 3, 3]", "branches = [1]", "branches"),
        ('["sum", "released"]', '["sun"]', "fusion: .* did you mean 'sum'"),
        ("stages.0.units.0", "stages.9.units.0", "free.stages.9.units.0.fusion"),
    ],
)
def test_every_mistake_is_one_line_with_its_place(read, tmp_path, old, new, says):
    assert old in GOOD
    with pytest.raises(StudyError, match=says) as caught:
        read(GOOD.replace(old, new, 1))
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{tmp_path / 'study.toml'}: ") or "TOML" in says
        assert ", got " in line
        assert "; " in line


def test_all_mistakes_are_told_at_once(read):
    text = GOOD.replace('"short"', '"shirt"').replace('"random"', '"tpa"').replace("200e6", "-1")
    with pytest.raises(StudyError) as caught:
        read(text)
    assert len(caught.value.problems) == 3


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(StudyError, match=r"none\.toml: a study file is readable TOML"):
        read_study(tmp_path / "none.toml", store=RunStore(tmp_path))


def test_a_study_without_its_file_cannot_go_on(read, tmp_path):
    store = RunStore(tmp_path / "runs")
    study = read(GOOD)
    start_search(study, store)
    (store.study_folder("widths") / "records").mkdir()
    (store.study_folder("widths") / "study.toml").unlink()
    with pytest.raises(StudyError, match=r"got no study\.toml"):
        load_search("widths", store)
    (store.study_folder("widths") / "records" / "00000-0123456789ab.json").write_text("{}")
    with pytest.raises(StudyError, match="a new study needs a new name"):
        start_search(study, store)
