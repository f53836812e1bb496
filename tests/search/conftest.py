"""What the tests of the search share: a tiny study, a tiny data set, no real latencies."""

from __future__ import annotations

import json

import pytest
from fake_engine import fake_latency
from tiny_study import FREE, STUDY

from analysis.store import RunStore
from networks import PRESETS, SpecSpace, spec_to_dict
from search import read_study, runner, start_search


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """The data set is rendered once for all tests and their worker processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRANCHWORK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def base_json(tmp_path_factory):
    """A network of two branches, one unit."""
    space = SpecSpace.resolve(
        PRESETS["naive_lite_hrnet_18"].make(17),
        {"branches": [2], "units": [1], "depth": [1], "widths": [[8, 16]], "stem.channels": [8]},
    )
    path = tmp_path_factory.mktemp("base") / "base.json"
    path.write_text(json.dumps(spec_to_dict(space.spec((0,) * len(space.dimensions)))))
    return path


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def make_study(tmp_path, base_json, store):
    """Writes a study file and starts the study."""

    def make(*, trials=4, study="", limits="", free=FREE, sampler="tpe", start=True):
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        (folder / "base.json").write_text(base_json.read_text())
        path = folder / "study.toml"
        path.write_text(
            STUDY.format(trials=trials, study=study, limits=limits, free=free, sampler=sampler)
        )
        made = read_study(path, store=store)
        if start:
            start_search(made, store)
        return made

    return make


@pytest.fixture
def quick_latency(monkeypatch):
    """Measures nothing."""
    monkeypatch.setattr(runner, "measure_latency", fake_latency)
