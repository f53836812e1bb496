"""Every difference between two counts is accounted for, to the last unit."""

from __future__ import annotations

import itertools

import pytest
import torch
from drawn_specs import specs
from hypothesis import given, settings

from analysis.conventions import CONVENTIONS
from analysis.counter_runs import run_counters
from analysis.reconciling import NOT_EXPLAINED, reconcile
from blocks import ImageSize, record
from networks import PRESETS, NetworkSpec, spec_from_dict, spec_to_dict

SIZE = ImageSize(64, 64)


@settings(max_examples=10)
@given(spec=specs())
def test_rows_add_up_between_any_two_conventions(spec: NetworkSpec):
    size = ImageSize(spec.coarsest_stride, spec.coarsest_stride)
    ops = spec.operations(size)
    for first, second in itertools.permutations(CONVENTIONS, 2):
        account = reconcile(ops, first, second)
        assert account.first_count == CONVENTIONS[first](ops)
        assert account.second_count == CONVENTIONS[second](ops)
        assert sum(row.difference for row in account.rows) == account.difference
        assert sum(row.calls for row in account.rows) == len(ops)
        assert account.unexplained == 0


def test_what_a_counter_prints_beyond_its_emulation_has_a_row_of_its_own():
    ops = PRESETS["lite_hrnet_18"].make(17).operations(SIZE)
    said = CONVENTIONS["thop"](ops)
    account = reconcile(ops, "macs", "thop", printed={"thop": said + 7})
    assert account.second_count == said + 7
    assert account.unexplained == 7
    assert account.rows[-1].op_type == NOT_EXPLAINED
    assert sum(row.difference for row in account.rows) == account.difference


def test_the_counters_themselves_are_explained_to_the_unit():
    # The head reads branch 0 alone, so fvcore does not see the coarser sums of the last fusion.
    data = spec_to_dict(PRESETS["naive_lite_hrnet_18"].make(17))
    spec = spec_from_dict({**data, "aggregator": "none"})
    runs = run_counters(spec, SIZE)
    assert all(run.failure == "" for run in runs.values()), runs
    printed = {name: run.count for name, run in runs.items()}
    ops = spec.operations(SIZE)
    are_read = record(spec.build(), [torch.empty(1, 3, 64, 64)]).are_read
    assert not all(are_read)
    assert printed["fvcore"] < CONVENTIONS["fvcore"](ops)
    for pair in (("macs", "fvcore"), ("fvcore", "thop"), ("params", "thop")):
        account = reconcile(ops, *pair, printed=printed, are_read=are_read)
        assert account.unexplained == 0
        assert account.second_count == printed[pair[1]]
        assert sum(row.difference for row in account.rows) == account.difference
    unread = [row for row in account.rows if row.op_type.endswith("nothing reads it")]
    assert sum(row.calls for row in unread) == are_read.count(False)


@pytest.mark.parametrize("limit_s", [0.01])
def test_a_counter_that_takes_too_long_is_a_line(limit_s):
    runs = run_counters(PRESETS["lite_hrnet_18"].make(17), SIZE, limit_s=limit_s)
    assert {run.count for run in runs.values()} == {None}
    assert {run.failure for run in runs.values()} == {"stopped after 0.01 s"}
