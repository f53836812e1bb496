"""``branchwork compare``: of records, of seeds, and what it refuses."""

from __future__ import annotations

import json

import pytest

from analysis.store import RunStore

SMALL = ("--option", "num_train=16", "--option", "num_val=12", "--input", "64x64")


@pytest.fixture
def trained(command):
    """Trains two small networks, one of them with two seeds, and says where their records are."""

    def run(network, seed, *more):
        words = ("train", network, "--task", "synthetic_keypoints", "--schedule", "smoke")
        made = command(*words, *SMALL, "--seed", str(seed), *more, "--json")
        assert made.code == 0, made.err
        return json.loads(made.out)

    return run


TWO = ("--set", "branches=2", "--set", "stages.0.units=1")


def test_records_are_compared_over_images_and_seeds_over_seeds(command, trained, tmp_path):
    first = trained("lite_hrnet_18", 0, *TWO)
    second = trained("naive_lite_hrnet_18", 0, *TWO)
    names = [f"train/{record['record_id']}" for record in (first, second)]
    made = command("compare", *names, "--metric", "mean_oks", "--json")
    assert made.code == 0, made.err
    found = json.loads(made.out)
    assert found["rests_on"] == "images"
    assert found["protocol_id"] == first["score"]["protocol_id"]
    (pair,) = found["pairs"]
    by_name = {each["name"]: each for each in found["networks"]}
    scores = [record["score"]["metrics"]["mean_oks"] for record in (first, second)]
    assert [by_name[name]["value"] for name in names] == pytest.approx(scores)
    assert pair["difference"] == pytest.approx(max(scores) - min(scores))
    # 12 images: all 2,048 swaps are tried.
    assert (pair["num_permutations"], pair["is_exact"]) == (2048, True)
    assert pair["differs"] == (pair["p"] <= 0.05) == (len(found["groups"]) == 2)

    shown = command("compare", *names, "--metric", "mean_oks")
    assert "all 2,048 swaps" in shown.out
    assert "About these trained networks" in shown.out

    trained("lite_hrnet_18", 1, *TWO)
    networks = [f"train/{record['spec_id']}" for record in (first, second)]
    over_seeds = json.loads(command("compare", *networks, "--metric", "mean_oks", "--json").out)
    assert over_seeds["rests_on"] == "seeds"
    assert {each["num_seeds"] for each in over_seeds["networks"]} == {1, 2}
    assert over_seeds["pairs"][0]["p"] is None
    assert "About architectures" in command("compare", *networks).out

    kept = RunStore(tmp_path / "runs").study_folder("train") / "results"
    file = kept / f"{first['record_id']}.npz"
    file.write_bytes(file.read_bytes()[:100])
    broken = command("compare", *names)
    assert (broken.code, "readable .npz" in broken.err) == (2, True)
    file.unlink()
    assert "train the network again" in command("compare", *names).err


def test_what_does_not_compare_is_refused(command, trained):
    first = trained("lite_hrnet_18", 0, *TWO)
    other = trained("lite_hrnet_18", 0, *TWO, "--option", "flip_test=false")
    names = [f"train/{record['record_id']}" for record in (first, other)]
    cases = {
        (names[0],): "needs two networks",
        (names[0], names[0]): "name each once",
        tuple(names): "only under one protocol",
        (names[0], "train/nobody"): "a scored record, network or spec_id",
        (names[0], "nowhere/x"): "must be in the run store",
        (names[0], "x.json"): "STUDY/RECORD_ID",
    }
    for words, expected in cases.items():
        made = command("compare", *words)
        assert made.code == 2
        assert expected in made.err
        assert "Traceback" not in made.err


def test_an_undefined_score_is_not_compared(command, tmp_path):
    truth = {
        "images": [{"id": 1, "width": 9, "height": 9, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("[]")
    words = ("--task", "coco_keypoints", "--annotations", "truth.json")
    made = command("compare", "a.json", "b.json", *words)
    assert made.code == 2
    assert "AP is undefined" in made.err
