"""The atlas: every row as the closed form counts it, the front, limits, whole or drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import CONVENTIONS, measure_cost
from analysis.atlas import front_of, write_atlas
from blocks import ImageSize
from networks import SpecSpace, lite_hrnet_18

SIZE = ImageSize(64, 64)
FREE = {
    "widths": [[8, 16, 32, 64], [7, 16, 32, 64], [16, 32, 64, 128]],
    "branches": [2, 3],
    "stages.0.block": ["ccw", "conv1x1_shuffle"],
}


@pytest.fixture
def space() -> SpecSpace:
    return SpecSpace.resolve(lite_hrnet_18(), FREE)


def test_a_whole_space(space, tmp_path):
    told = []
    atlas = write_atlas(
        space,
        SIZE,
        tmp_path / "deep" / "atlas.parquet",
        num_samples=None,
        seed=0,
        limits={"macs": 4e6},
        on_rows=told.append,
    )
    table = pd.read_parquet(atlas.path)
    assert (len(table), atlas.num_rows, atlas.is_whole, told) == (12, 12, True, [12])
    assert list(table) == [*sorted(FREE), *CONVENTIONS, "fits"]
    for row, choices in zip(table.to_dict("records"), space.rows(), strict=True):
        labels = [d.labels[index] for d, index in zip(space.dimensions, choices, strict=True)]
        assert [row[d.address] for d in space.dimensions] == labels
        if "[7," in row["widths"]:
            assert pd.isna(row["macs"])
            assert not row["fits"]
        else:
            counted = measure_cost(space.spec(choices), SIZE)
            assert {name: row[name] for name in CONVENTIONS} == counted.conventions
            assert row["fits"] == (counted.macs <= 4e6)
    valid = table.dropna(subset=["macs"])
    assert atlas.num_invalid == 4
    assert atlas.num_over == int((valid["macs"] > 4e6).sum()) > 0
    assert atlas.ranges["macs"] == (
        valid["macs"].min(),
        int(np.median(valid["macs"])),
        valid["macs"].max(),
    )
    assert list(tmp_path.rglob("*.tmp")) == []


def test_drawn_rows_come_from_the_seed(space, tmp_path):
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / name
        atlas = write_atlas(space, SIZE, path, num_samples=50, seed=seed, limits={})
        assert (atlas.num_rows, atlas.is_whole) == (50, False)
        tables.append(pd.read_parquet(path))
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_the_front_lies_within_the_limits(space, tmp_path):
    path = tmp_path / "atlas"
    free = write_atlas(space, SIZE, path, num_samples=None, seed=0, limits={})
    tight = write_atlas(space, SIZE, path, num_samples=None, seed=0, limits={"params": 40_000})
    assert free.front_costs["params"].max() > 40_000
    assert tight.front_costs["params"].max() <= 40_000
    for atlas in (free, tight):
        assert (np.diff(atlas.front_costs["macs"]) > 0).all()
        assert (np.diff(atlas.front_costs["params"]) > 0).all()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_a_front_is_what_no_other_beats(points):
    more, less = np.array(points, dtype=int).reshape(-1, 2).T
    kept = front_of(more, less).tolist()
    beaten = {
        i
        for i, (a, b) in enumerate(points)
        for c, d in points
        if c >= a and d <= b and (c > a or d < b)
    }
    assert {points[i] for i in kept} == {p for i, p in enumerate(points) if i not in beaten}
    assert len({points[i] for i in kept}) == len(kept)
