"""Conventions of our own: published executions to the unit, exact rules, sums over layers."""

from __future__ import annotations

import json

import pytest
from drawn_specs import specs
from hypothesis import given, settings

from analysis import conventions
from analysis.conventions import CONVENTIONS, convention_rule
from analysis.cost import Cost, measure_cost, network_shares
from analysis.objectives import objective
from analysis.unread import unread_operations
from blocks import BranchworkError, ImageSize, Op, Tape
from networks import PRESETS, NetworkSpec

# Network, image, key points, multiply-accumulates of the published execution.
EXECUTED = [
    ("naive_lite_hrnet_18", "256x192", 17, 211_049_088),
    ("naive_lite_hrnet_18", "256x256", 16, 281_275_904),
    ("naive_lite_hrnet_18", "384x288", 17, 474_860_448),
    ("wider_naive_lite_hrnet_18", "256x192", 17, 346_050_048),
    ("wider_naive_lite_hrnet_18", "256x256", 16, 461_236_224),
    ("wider_naive_lite_hrnet_18", "384x288", 17, 778_612_608),
    ("lite_hrnet_18", "256x192", 17, 242_345_088),
    ("lite_hrnet_18", "384x288", 17, 545_144_448),
    ("lite_hrnet_18", "256x256", 16, 322_927_744),
    ("lite_hrnet_30", "256x192", 17, 386_103_648),
    ("lite_hrnet_30", "384x288", 17, 868_514_208),
    ("lite_hrnet_30", "256x256", 16, 514_582_624),
    ("small_hrnet_w16", "256x192", 17, 570_703_872),
    ("hrnet_w32", "256x192", 17, 7_645_003_776),
    ("mobilenet_v2", "384x288", 17, 3_521_346_048),
    ("shufflenet_v2", "384x288", 17, 3_065_122_080),
]


@pytest.mark.parametrize("row", EXECUTED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_published_execution_is_counted_to_the_unit(row):
    name, size, num_outputs, executed = row
    cost = measure_cost(PRESETS[name].make(num_outputs), ImageSize.parse(size))
    assert cost.conventions["published_execution"] == executed


def test_a_published_run_is_a_label_that_survives_splicing():
    inner = Tape()
    inner.at("conv", published_runs=2).conv((4, 8, 8), 4)
    outer = Tape()
    outer.at("path", branch=1).splice(tuple(inner.ops), (3,))
    (op,) = outer.ops
    assert (op.address, op.published_runs) == ("path.conv", 2)
    assert op == Op(
        "convolution", ((4, 8, 8),), (4, 8, 8), ((4, 4, 1, 1),), 0, "path.conv", "Conv2d"
    )
    assert conventions.published_execution([op]) == 2 * conventions.macs([op]) == 2 * 1024


def _counted(write) -> dict[str, int]:
    tape = Tape()
    write(tape)
    names = ("flops", "activations", "bytes_moved", "kernels")
    return {name: CONVENTIONS[name](tape.ops) for name in names}


X = (4, 6, 8)  # 192 elements
BY_HAND = {
    # 2·192·4·9/4 (depthwise) multiplications and additions, 192 additions of the bias.
    "depthwise": (
        lambda t: t.conv(X, 4, kernel=3, groups=4, bias=True),
        (2 * 192 * 9 + 192, 192, 4 * (192 + 192 + 36 + 4), 1),
    ),
    "strided": (
        lambda t: t.conv(X, 2, kernel=3, stride=2),
        (2 * 24 * 36, 24, 4 * (192 + 24 + 72), 1),
    ),
    "deconv": (
        lambda t: t.deconv(X, 2, kernel=4, stride=2),
        (2 * 48 * 4 * 2 * 16, 2 * 192, 4 * (192 + 384 + 128), 1),
    ),
    "norm": (lambda t: t.norm(X), (2 * 192, 0, 4 * (192 + 192 + 8), 1)),
    "act": (lambda t: t.act(X), (192, 0, 4 * 384, 1)),
    "add": (lambda t: t.add(X, X), (192, 0, 4 * 576, 1)),
    "gate": (lambda t: t.mul(X, (4, 1, 1)), (192, 0, 4 * (192 + 4 + 192), 1)),
    "mean": (lambda t: t.pool_to_point(X), (192, 0, 4 * (192 + 4), 1)),
    "avg_pool": (lambda t: t.avg_pool(X, 2), (192, 0, 4 * (192 + 48), 1)),
    "max_pool": (lambda t: t.max_pool(X, kernel=3, stride=2), (9 * 48, 0, 4 * (192 + 48), 1)),
    "bilinear": (lambda t: t.upsample_bilinear(X, 2), (7 * 768, 0, 4 * (192 + 768), 1)),
    "nearest": (lambda t: t.upsample_nearest(X, 2), (0, 0, 4 * (192 + 768), 1)),
    "cat": (lambda t: t.cat(X, X), (0, 0, 4 * 768, 1)),
    "interleave": (lambda t: t.interleave(X, X), (0, 0, 4 * 768, 1)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_rules_counted_by_hand(name):
    write, expected = BY_HAND[name]
    assert tuple(_counted(write).values()) == expected


def test_numbers_of_lite_hrnet_18():
    cost = measure_cost(PRESETS["lite_hrnet_18"].make(17), ImageSize(256, 192))
    assert cost.conventions == {
        "macs": 198_626_688,
        "params": 1_130_769,
        "paper": 215_202_112,
        "fvcore": 217_857_792,
        "thop": 228_336_256,
        "published_execution": 242_345_088,
        "flops": 427_209_280,
        "activations": 6_430_016,
        "bytes_moved": 301_968_964,
        "kernels": 1062,
        "ptflops": 229_547_008,
        "mmcv": 265_996_992,
        "torch": 397_253_376,
    }


@settings(max_examples=30)
@given(spec=specs())
def test_counting_layer_by_layer_is_counting_all_operations(spec: NetworkSpec):
    size = ImageSize(spec.coarsest_stride * 2, spec.coarsest_stride)
    ops = spec.operations(size)
    expected = {name: count(ops) for name, count in CONVENTIONS.items()}
    # What nobody reads, fvcore does not see (tests/golden/test_tools.py asks the tool itself).
    unread = unread_operations(spec)
    expected["fvcore"] = sum(network_shares(ops, unread)["fvcore"])
    # The second time from what is kept.
    for _ in range(2):
        assert measure_cost(spec, size).conventions == expected
    assert expected["published_execution"] >= expected["macs"]
    assert expected["torch"] == 2 * expected["macs"]
    assert expected["flops"] >= expected["torch"]


def test_an_image_that_does_not_fit_is_refused():
    spec = PRESETS["lite_hrnet_18"].make(17)
    measure_cost(spec, ImageSize(64, 64))
    with pytest.raises(BranchworkError, match="pad the image to 64x64"):
        measure_cost(spec, ImageSize(64, 63))


def test_every_convention_has_a_rule_in_one_line():
    rules = [convention_rule(name) for name in CONVENTIONS]
    assert all(rule.endswith(".") for rule in rules)
    assert len(set(rules)) == len(CONVENTIONS)


def test_a_record_without_the_newer_conventions_has_no_number_there():
    class OldRecord:
        cost = Cost(
            input=ImageSize(64, 64),
            params=1,
            macs=2,
            conventions=json.loads('{"macs": 2, "params": 1}'),
        )

    assert objective("macs").value(OldRecord()) == 2
    missing = objective("flops").value(OldRecord())
    assert missing != missing  # noqa: PLR0124 - NaN alone differs from itself
