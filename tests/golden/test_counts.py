"""Published counts, to the unit: parameters, multiply-accumulates, and the papers' own rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from analysis.conventions import macs, paper, params
from analysis.cost import By, break_down, measure_cost
from blocks import ImageSize, Op
from networks import PRESETS, NetworkSpec, apply_choices, spec_from_dict, spec_to_dict

SMALL, SQUARE, LARGE = "256x192", "256x256", "384x288"

# Preset, input, params, MACs, MACs of the published execution, the papers' rule.
# Heads put out 17 maps, at 256x256 16. None: no number is known.
COUNTS = (
    ("naive_lite_hrnet_18", SMALL, 760_365, 185_517_888, 211_049_088, 204_217_152),
    ("naive_lite_hrnet_18", SQUARE, 760_334, 247_234_304, 281_275_904, 272_162_560),
    ("naive_lite_hrnet_18", LARGE, 760_365, 417_415_248, 474_860_448, 459_488_592),
    ("wider_naive_lite_hrnet_18", SMALL, 1_318_625, 302_331_648, 346_050_048, 326_163_072),
    ("wider_naive_lite_hrnet_18", SQUARE, 1_318_584, 402_945_024, 461_236_224, 434_716_160),
    ("wider_naive_lite_hrnet_18", LARGE, 1_318_625, 680_246_208, 778_612_608, 733_866_912),
    ("lite_hrnet_18", SMALL, 1_130_769, 198_626_688, 242_345_088, 215_202_112),
    ("lite_hrnet_18", SQUARE, 1_130_728, 264_636_544, 322_927_744, 286_710_400),
    ("lite_hrnet_18", LARGE, 1_130_769, 446_778_048, 545_144_448, 483_984_112),
    ("lite_hrnet_30", SMALL, 1_763_717, 309_451_488, 386_103_648, 334_703_864),
    ("lite_hrnet_30", SQUARE, 1_763_676, 412_379_744, 514_582_624, 446_005_976),
    ("lite_hrnet_30", LARGE, 1_763_717, 696_046_848, 868_514_208, 752_709_824),
    ("small_hrnet_w16", SMALL, 1_284_961, 570_703_872, 570_703_872, 578_462_976),
    ("small_hrnet_w16", SQUARE, 1_284_944, 760_872_960, 760_872_960, 771_214_336),
    ("small_hrnet_w16", LARGE, 1_284_961, 1_284_083_712, 1_284_083_712, 1_301_541_696),
    ("hrnet_w32", SMALL, 28_536_113, 7_645_003_776, 7_645_003_776, 7_692_829_056),
    ("hrnet_w32", SQUARE, 28_536_080, None, None, None),
    ("hrnet_w32", LARGE, 28_536_113, 17_201_258_496, 17_201_258_496, None),
    ("hrnet_w48", SMALL, 63_595_745, 15_691_825_152, 15_691_825_152, 15_755_346_816),
    ("hrnet_w48", SQUARE, 63_595_696, None, None, None),
    ("hrnet_w48", LARGE, 63_595_745, 35_306_606_592, 35_306_606_592, None),
    ("mobilenet_v2", SMALL, 9_569_809, 1_565_042_688, 1_565_042_688, 1_587_256_320),
    ("mobilenet_v2", SQUARE, 9_569_552, None, None, None),
    ("mobilenet_v2", LARGE, 9_569_809, 3_521_346_048, 3_521_346_048, None),
    ("shufflenet_v2", SMALL, 7_550_965, 1_362_276_480, 1_362_276_480, 1_371_367_296),
    ("shufflenet_v2", SQUARE, 7_550_708, None, None, None),
    ("shufflenet_v2", LARGE, 7_550_965, 3_065_122_080, 3_065_122_080, None),
)

FULL, HALF = "1024x2048", "512x1024"

# The same for segmentation, 19 classes; the authors of Lite-HRNet published none of theirs.
SEGMENTATION_COUNTS = (
    ("lite_hrnet_18_seg", HALF, 1_239_531, 2_897_542_272),
    ("lite_hrnet_18_seg", FULL, 1_239_531, 11_589_852_288),
    ("lite_hrnet_30_seg", HALF, 1_872_479, 4_079_000_672),
    ("lite_hrnet_30_seg", FULL, 1_872_479, 16_315_477_088),
    ("naive_lite_hrnet_18_seg", HALF, 822_737, 2_450_716_672),
    ("naive_lite_hrnet_18_seg", FULL, 822_737, 9_802_866_688),
    ("wider_naive_lite_hrnet_18_seg", HALF, 1_427_387, 4_004_749_312),
    ("wider_naive_lite_hrnet_18_seg", FULL, 1_427_387, 16_018_997_248),
    ("small_hrnet_w16_seg", HALF, 1_540_819, 8_347_713_536),
    ("small_hrnet_w16_seg", FULL, 1_540_819, 33_390_854_144),
    ("hrnet_w32_seg", HALF, 29_546_515, 90_306_510_848),
    ("hrnet_w32_seg", FULL, 29_546_515, 361_226_043_392),
    ("hrnet_w48_seg", HALF, 65_859_379, 186_878_263_296),
    ("hrnet_w48_seg", FULL, 65_859_379, 747_513_053_184),
)

# The papers print the rule's number in units of 2^20 ("M") or 2^30 ("G").
PRINTED = (
    ("naive_lite_hrnet_18", SMALL, 20, "194.8"),
    ("naive_lite_hrnet_18", SQUARE, 20, "259.6"),
    ("wider_naive_lite_hrnet_18", SMALL, 20, "311.1"),
    ("lite_hrnet_18", SMALL, 20, "205.2"),
    ("lite_hrnet_18", LARGE, 20, "461.6"),
    ("lite_hrnet_18", SQUARE, 20, "273.4"),
    ("lite_hrnet_30", SMALL, 20, "319.2"),
    ("lite_hrnet_30", LARGE, 20, "717.8"),
    ("lite_hrnet_30", SQUARE, 20, "425.3"),
    ("small_hrnet_w16", SMALL, 20, "551.7"),
    ("small_hrnet_w16", SQUARE, 20, "735.5"),
    ("small_hrnet_w16", LARGE, 30, "1.21"),
    ("mobilenet_v2", SMALL, 30, "1.48"),
    ("mobilenet_v2", LARGE, 30, "3.33"),
    ("shufflenet_v2", SMALL, 30, "1.28"),
    ("shufflenet_v2", LARGE, 30, "2.87"),
)

# HRNet's own papers print multiply-accumulates in units of 2^30.
PRINTED_MACS = (
    ("hrnet_w32", SMALL, "7.1"),
    ("hrnet_w32", LARGE, "16.0"),
    ("hrnet_w48", SMALL, "14.6"),
    ("hrnet_w48", LARGE, "32.9"),
    ("small_hrnet_w16_seg", FULL, "31.1"),
    ("hrnet_w48_seg", FULL, "696.2"),
)

# Wider naive Lite-HRNet-18 with fewer 1x1 convolutions: kept, params, rule / 2^20 by input.
ABLATION = (
    (1, 1_102_305, {SMALL: "248.36", SQUARE: "330.98"}, {SMALL: "248.4", SQUARE: "331.0"}),
    (0, 885_985, {SMALL: "188.89", SQUARE: "251.69"}, {SMALL: "188.9", SQUARE: "251.7"}),
)

# The parts of the published table: which addresses they are.
PARTS = {
    "stem conv": r"stem\.conv\.",
    "stem shuffle": r"stem(\.(short|long)\.|$)",
    "transition": r"stages\.{}\.transition",
    "mixing": r"stages\.{}\..*\.block\.\d+\.(cross\.|\d+\.convs\.[02]\.)",
    "depthwise": r"stages\.{}\..*\.block\.\d+\.(depthwise\.|\d+\.convs\.1\.)",
    "spatial": r"stages\.{}\..*\.block\.\d+\.spatial\.",
    "fusion": r"stages\.{}\..*\.fusion",
    "aggregator": r"aggregator",
    "head": r"head",
}

# MACs and params of each part at 256x192; numbers are stages, here counted from 0.
PART_COUNTS = {
    "lite_hrnet_18": {
        ("mixing", 0): (2_580_480, 3_896),
        ("depthwise", 0): (3_317_760, 2_640),
        ("spatial", 0): (4_000, 4_300),
        ("fusion", 0): (10_383_360, 14_160),
        ("mixing", 1): (7_311_360, 40_592),
        ("depthwise", 1): (7_741_440, 12_320),
        ("spatial", 1): (33_600, 35_000),
        ("fusion", 1): (57_108_480, 199_200),
        ("mixing", 2): (4_262_400, 91_496),
        ("depthwise", 2): (4_147_200, 13_200),
        ("spatial", 2): (68_000, 69_500),
        ("fusion", 2): (52_496_640, 492_480),
    },
    "lite_hrnet_30": {
        ("mixing", 0): (3_870_720, 5_844),
        ("depthwise", 0): (4_976_640, 3_960),
        ("spatial", 0): (6_000, 6_450),
        ("fusion", 0): (15_575_040, 21_240),
        ("mixing", 1): (14_622_720, 81_184),
        ("depthwise", 1): (15_482_880, 24_640),
        ("spatial", 1): (67_200, 70_000),
        ("fusion", 1): (114_216_960, 398_400),
        ("mixing", 2): (6_393_600, 137_244),
        ("depthwise", 2): (6_220_800, 19_800),
        ("spatial", 2): (102_000, 104_250),
        ("fusion", 2): (78_744_960, 738_720),
    },
    "wider_naive_lite_hrnet_18": {
        ("mixing", 0): (19_660_800, 16_960),
        ("depthwise", 0): (3_317_760, 2_640),
        ("fusion", 0): (10_383_360, 14_160),
        ("mixing", 1): (58_982_400, 138_880),
        ("depthwise", 1): (7_741_440, 12_320),
        ("fusion", 1): (57_108_480, 199_200),
        ("mixing", 2): (39_321_600, 276_800),
        ("depthwise", 2): (4_147_200, 13_200),
        ("fusion", 2): (52_496_640, 492_480),
    },
}
SHARED_PART_COUNTS = {
    ("stem conv", 0): (10_616_832, 928),
    ("stem shuffle", 0): (9_977_856, 1_936),
    ("transition", 0): (7_004_160, 4_784),
    ("transition", 1): (2_595_840, 14_000),
    ("transition", 2): (2_526_720, 53_600),
    ("aggregator", 0): (14_361_600, 76_040),
    ("head", 0): (2_088_960, 697),
}


def preset(name: str, size: str) -> NetworkSpec:
    num_outputs = 19 if name.endswith("_seg") else 17
    return PRESETS[name].make(16 if size == SQUARE else num_outputs)


def as_published(ops: Sequence[Op]) -> tuple[Op, ...]:
    """The operations as the released code executes them: paths from branch 0 run twice."""
    twice = re.compile(r"\.fusion\.paths\.[1-9]\.0\.")
    return tuple(op for op in ops for _ in range(2 if twice.search(op.address) else 1))


def printed(value: int, exponent: int, digits: int) -> str:
    return f"{value / 2**exponent:.{digits}f}"


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_counts_are_the_published_ones_to_the_unit(row):
    name, size, *expected = row
    spec = preset(name, size)
    cost = measure_cost(spec, ImageSize.parse(size))
    ops = spec.operations(ImageSize.parse(size))
    released = "lite_hrnet" in name
    executed = macs(as_published(ops)) if released else cost.macs
    counted = [cost.params, cost.macs, executed, cost.conventions["paper"]]
    known = [
        value if wanted is not None else None
        for value, wanted in zip(counted, expected, strict=True)
    ]
    assert known == expected


@pytest.mark.parametrize("row", SEGMENTATION_COUNTS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_counts_of_segmentation_networks(row):
    name, size, *expected = row
    cost = measure_cost(PRESETS[name].make(19), ImageSize.parse(size))
    assert [cost.params, cost.macs] == expected


def test_every_preset_has_its_counts():
    assert {row[0] for row in (*COUNTS, *SEGMENTATION_COUNTS)} == set(PRESETS)


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_papers_rule_gives_the_digits_that_the_papers_print(row):
    name, size, exponent, text = row
    counted = paper(preset(name, size).operations(ImageSize.parse(size)))
    assert printed(counted, exponent, len(text.partition(".")[2])) == text


@pytest.mark.parametrize("row", PRINTED_MACS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_hrnets_papers_print_binary_giga_macs(row):
    name, size, text = row
    assert printed(macs(preset(name, size).operations(ImageSize.parse(size))), 30, 1) == text


@pytest.mark.parametrize(("kept", "num_params", "two_digits", "one_digit"), ABLATION)
def test_ablation_of_the_1x1_convolutions(kept, num_params, two_digits, one_digit):
    for size in (SMALL, SQUARE):
        base = spec_to_dict(preset("wider_naive_lite_hrnet_18", size))
        block = {"kind": "conv1x1_shuffle", "num_conv1x1": kept}
        spec = spec_from_dict(apply_choices(base, {"block": block}))
        ops = spec.operations(ImageSize.parse(size))
        assert printed(paper(ops), 20, 2) == two_digits[size]
        assert printed(paper(ops), 20, 1) == one_digit[size]
        if size == SMALL:
            assert params(ops) == num_params


@pytest.mark.parametrize("name", PART_COUNTS)
def test_every_part_has_its_published_share(name):
    ops = preset(name, SMALL).operations(ImageSize.parse(SMALL))
    expected = SHARED_PART_COUNTS | PART_COUNTS[name]
    counted = {}
    for part, stage in expected:
        address = re.compile(PARTS[part].format(stage))
        chosen = [op for op in ops if address.match(op.address)]
        counted[part, stage] = (macs(chosen), params(chosen))
    assert counted == expected
    assert sum(count for count, _ in counted.values()) == macs(ops)
    assert sum(count for _, count in counted.values()) == params(ops)


def test_the_papers_rule_by_its_terms():
    ops = preset("lite_hrnet_18", SMALL).operations(ImageSize.parse(SMALL))

    def term(*modules: str) -> int:
        return paper([op for op in ops if op.module in modules])

    # Convolutions with their biases, norms, activations, poolings to a point, upsamplings.
    assert term("Conv2d") == 198_626_688 + 55_424
    assert term("BatchNorm2d") == 12_749_184
    assert term("ReLU") == 1_915_456
    assert term("AdaptiveAvgPool2d") == 1_799_680
    assert term("Upsample") == 55_680
    assert term("Sigmoid") == 0


@pytest.mark.parametrize("by", list(By))
def test_parts_add_up_to_the_whole(by):
    ops = preset("lite_hrnet_18", SMALL).operations(ImageSize.parse(SMALL))
    parts = break_down(ops, by)
    assert sum(part.macs for part in parts) == 198_626_688
    assert sum(part.params for part in parts) == 1_130_769
    assert sum(part.conventions["paper"] for part in parts) == 215_202_112


def test_fusions_are_sixty_percent_of_lite_hrnet_18_and_blocks_fifteen():
    ops = preset("lite_hrnet_18", SMALL).operations(ImageSize.parse(SMALL))
    share = {part.name: part.macs / macs(ops) for part in break_down(ops, By.SLOT)}
    assert round(share["fusion"], 2) == 0.60
    assert round(share["block"], 2) == 0.15
