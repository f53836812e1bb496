"""The shipped studies on real images: the same path, cut to one network, few steps and images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUDIES = {
    "coco_mini": "data/coco_mini",
    "lsp": "data/lspet_coco",
    "cityscapes_mini": "data/cityscapes_mini",
    "camvid": "data/camvid",
}
FEW = 40
"""Images of a split; that the whole sets are read is a test of the tasks."""


def cut(folder: Path, made: Path) -> Path:
    """Makes a data folder with few images of every split, where a file lists them."""
    made.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".txt":
            lines = path.read_text(encoding="utf-8").splitlines()[:FEW]
            (made / path.name).write_text("\n".join(lines), encoding="utf-8")
        elif path.name == "annotations":
            (made / path.name).mkdir()
            for each in path.iterdir():
                (made / path.name / each.name).write_text(cut_annotations(each), encoding="utf-8")
        else:
            (made / path.name).symlink_to(path)
    return made


def cut_annotations(path: Path) -> str:
    data = json.loads(path.read_text(encoding="utf-8"))
    images = data["images"][:FEW]
    kept = {image["id"] for image in images}
    annotations = [each for each in data["annotations"] if each["image_id"] in kept]
    return json.dumps({**data, "images": images, "annotations": annotations})


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_runs_on_its_data(command, shared_file, tmp_path, name):
    folder = cut(shared_file(STUDIES[name]), tmp_path / "data")
    text = (ROOT / "configs" / "studies" / f"{name}.toml").read_text(encoding="utf-8")
    written = re.search(r'base = "\.\./(.*)"', text)
    base = str(ROOT / "configs" / written[1])
    lines = [
        line
        for line in text.splitlines()
        if not line.startswith(("trials =", "schedule =", "base ="))
    ]
    lines.insert(
        lines.index("[study]") + 1,
        f'base = "{base}"\ntrials = 1\nworkers = 1\nschedule = {{base = "smoke", num_evals = 1}}',
    )
    (tmp_path / "cut.toml").write_text("\n".join(lines), encoding="utf-8")
    result = command("search", "start", "cut.toml", "--data", str(folder))
    assert result.code == 0, result.err

    status = json.loads(command("search", "status", name, "--json").out)
    assert (status["state"], status["num_trained"]) == ("finished", 1)
    row = status["front"][0]
    assert set(status["objectives"]) <= set(row)
    assert all(row[objective] > 0 for objective in status["objectives"])
    low, high = row["score_interval"]
    assert 0 <= low <= row["metric_value"] <= high <= 1
