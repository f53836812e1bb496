"""Fields take what they declare and nothing else."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import (
    SLOTS,
    BlockSpec,
    BranchBlock,
    BranchShape,
    Shape,
    Slot,
    SpecError,
    Tape,
    choice,
    fields_of,
    mismatch,
    pointwise,
    required,
)
from blocks._fields import LARGEST_COUNT


@dataclass(frozen=True, kw_only=True)
class Sample(BranchBlock):
    """A block with a field of every type."""

    count: int = choice(8, among=(0, 4, 8), help="a number")
    wide: bool = choice(default=False, among=(False, True))
    rate: float = 0.5
    act: str = choice("relu", among=("relu", "relu6"))
    sizes: tuple[int, ...] = required(tuple[int, ...], help="write the sizes")

    def build_branch(self, shape: BranchShape):
        return pointwise(shape.channels, shape.channels).build()

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        return pointwise(shape.channels, shape.channels).trace(tape, x)


GOOD = {
    "count": [0, 1, 4, 5, LARGEST_COUNT],
    "wide": [True, False],
    "rate": [0.0, -1.5, 1.0],
    "act": ["relu", "relu6"],
    "sizes": [(1,), (3, 2, 1)],
}
BAD = {
    "count": [-1, 2.0, "4", None, True, LARGEST_COUNT + 1, [4], 10**5000],
    "wide": [0, 1, "true", None],
    "rate": [1, math.nan, math.inf, "0.5", None],
    "act": ["gelu", None, 1, ["relu"]],
    "sizes": [(), (0,), (1.0,), [1], None, 3, (True,)],
}


@pytest.mark.parametrize("name", GOOD)
def test_takes_what_is_declared(name):
    for value in GOOD[name]:
        assert getattr(Sample(**{"sizes": (1,), name: value}), name) == value


@pytest.mark.parametrize("name", BAD)
def test_refuses_everything_else(name):
    for value in BAD[name]:
        with pytest.raises(SpecError, match=f"field '{name}' must be ") as caught:
            Sample(**{"sizes": (1,), name: value})
        assert len(caught.value.problems) == 1


def test_all_wrong_fields_are_told_at_once_with_advice():
    with pytest.raises(SpecError) as caught:
        Sample(count=-1, rate=2, act="gelu", sizes=())
    assert [(problem.got, problem.do) for problem in caught.value.problems] == [
        ("-1", "the usual values are 0, 4, 8"),
        ("2", "leave it out for the default, 0.5"),
        ("'gelu'", "the usual values are 'relu', 'relu6'"),
        ("()", "write the sizes"),
    ]


def test_fields_are_listed_for_the_catalogue():
    infos = {info.name: info for info in fields_of(Sample)}
    assert list(infos) == ["count", "wide", "rate", "act", "sizes"]
    assert infos["count"].among == (0, 4, 8)
    assert infos["count"].help == "a number"
    assert infos["count"].type is int
    assert infos["rate"].default == 0.5
    assert infos["sizes"].default is dataclasses.MISSING


@given(value=st.integers() | st.floats() | st.text() | st.none() | st.booleans())
def test_a_value_fits_its_field_alone_if_it_fits_the_spec(value):
    info = fields_of(Sample)[0]
    if mismatch(info, value):
        with pytest.raises(SpecError):
            Sample(count=value, sizes=(1,))
    else:
        assert Sample(count=value, sizes=(1,)).count is value


@pytest.mark.parametrize("slot", list(Slot))
def test_every_registered_field_is_documented_and_its_choices_fit(slot):
    for entry in SLOTS[slot]:
        for info in fields_of(entry.cls):
            assert info.help, f"{slot.value} {entry.name}: say what {info.name!r} sets"
            for value in info.among:
                assert not mismatch(info, value)
            if issubclass(entry.cls, BlockSpec):
                # A block without arguments can be drawn by any search.
                assert info.default is not dataclasses.MISSING
