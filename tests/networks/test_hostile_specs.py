"""Whatever a spec file holds, reading it ends in a network or in a message of ours."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks import IMAGE, ImageSize, SpecError
from networks import (
    NetworkSpec,
    canonical_json,
    lite_hrnet_18,
    mobilenet_v2,
    read_spec,
    small_hrnet_w16,
    spec_from_dict,
    spec_to_dict,
)
from networks.spec import LARGEST_DEPTH

Path = tuple[str | int, ...]


def paths(data: Any, done: Path = ()) -> Iterator[Path]:
    """Every place in plain data."""
    yield done
    if isinstance(data, dict | list):
        keys = data if isinstance(data, dict) else range(len(data))
        for key in keys:
            yield from paths(data[key], (*done, key))


def at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data


def replaced(data: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(data)
    changed[path[0]] = replaced(data[path[0]], path[1:], value)
    return changed


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = (
    *(None, True, -1, 0, 41, 10**9, 10**400, 10**6000, 3.5, float("nan"), float("inf")),
    *("", "ccw", "none", "\ud800\n", "x" * 10_000),
    *([], [[]], [0, 0], [-1], [True], ["a"], [1.5], nested(3000)),
    *({}, {"kind": None}, {"kind": []}, {"kind": "ccw", 3: 4}, {3: 4}, {"kind": nested(3000)}),
    *((1, 2), {1, 2}, b"ccw", object()),
)

_BASES = (lite_hrnet_18(), small_hrnet_w16(), mobilenet_v2())


def tried(data: object) -> None:
    """What is refused is refused in our words; what is not can be counted and written."""
    try:
        spec = spec_from_dict(data)
    except SpecError as error:
        lines = [str(problem) for problem in error.problems]
    else:
        lines = []
        assert spec_from_dict(json.loads(canonical_json(spec))) == spec
        assert spec.ops(IMAGE, ImageSize(512, 512))
    assert all(len(line) < 1000 and "\n" not in line for line in lines)


@settings(max_examples=150)
@given(base=st.sampled_from(_BASES), draw=st.data())
def test_whatever_stands_in_a_spec_is_refused_in_our_words(base: NetworkSpec, draw):
    whole = spec_to_dict(base)
    path = draw.draw(st.sampled_from(list(paths(whole))))
    for junk in HOSTILE:
        tried(replaced(whole, path, junk))
        if isinstance(at(whole, path), dict):
            tried(replaced(whole, path, {**at(whole, path), "junk": junk}))
    if isinstance(at(whole, path), list):
        tried(replaced(whole, path, at(whole, path) * 2))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("kind", "stem", "stages", "units", "body")), inner)
    ),
    max_leaves=8,
)


@given(junk=_JSON)
def test_whatever_json_is_read_it_is_refused_in_our_words(junk):
    tried(junk)
    tried({"stem": junk, "stages": [junk], "aggregator": "none", "head": "heatmap"})


def test_a_depth_without_end_is_refused_at_once():
    data = spec_to_dict(lite_hrnet_18())
    data["stages"][0]["units"][0]["body"][0]["depth"] = LARGEST_DEPTH + 1
    with pytest.raises(SpecError, match="1 to 1000"):
        spec_from_dict(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSONDecodeError"),
        ("", "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "JSONDecodeError"),
        ("9" * 5000, "ValueError"),
    ],
    ids=["cut off", "empty", "nested", "binary", "a long number"],
)
def test_a_file_that_is_no_json_is_named(tmp_path, text, said):
    path = tmp_path / "network.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="a spec file is readable JSON") as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_a_folder_or_no_text_is_named(tmp_path):
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.json", tmp_path, binary):
        with pytest.raises(SpecError, match="a spec file is readable JSON") as caught:
            read_spec(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_a_mistake_in_a_file_is_told_with_the_file(tmp_path):
    data = spec_to_dict(lite_hrnet_18())
    path = tmp_path / "network.json"
    data["stem"] = "light"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f"{path}: stem: ")
