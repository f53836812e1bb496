"""What limits a network: layers under the machine's roof."""

import pytest

from analysis.peaks import Peaks, measure_peaks
from analysis.roofline import layer_of, roofline
from analysis.roofline_chart import draw_roofline
from blocks import ImageSize
from networks import PRESETS

PEAKS = Peaks(
    runtime="eager",
    threads=1,
    macs_per_s=50e9,
    memory_bytes_per_s=10e9,
    cache_bytes_per_s=100e9,
    last_cache_bytes=2**20,
    launch_s=5e-6,
)
SIZE = ImageSize(64, 64)


@pytest.fixture
def ops():
    return PRESETS["lite_hrnet_18"].make(17).operations(SIZE)


def test_layers_add_up_to_the_network(ops):
    found = roofline(ops, {"stem.conv.0.conv": 1.0, "": 0.5, "elsewhere": 0.25}, PEAKS)
    spec = PRESETS["lite_hrnet_18"].make(17)
    from analysis import measure_cost

    cost = measure_cost(spec, SIZE).conventions
    assert sum(layer.macs for layer in found.layers) == cost["macs"]
    assert sum(layer.bytes_moved for layer in found.layers) == cost["bytes_moved"]
    assert sum(layer.num_calls for layer in found.layers) == cost["kernels"]
    assert found.unplaced_ms == 0.75
    assert found.total_ms == 1.75
    assert found.layers[0].address == "stem"
    assert found.layers[0].time_ms == 1.0


def test_the_largest_of_three_bounds_limits(ops):
    times = {"stem": 1.0}
    by_default = roofline(ops, times, PEAKS).layers[0]
    assert by_default.least_ms["compute"] == pytest.approx(by_default.macs / 50e9 * 1e3)
    assert by_default.least_ms["launch"] == pytest.approx(by_default.num_calls * 5e-6 * 1e3)
    for change, bound in (
        ({"macs_per_s": 1e6}, "compute"),
        ({"memory_bytes_per_s": 1e6, "cache_bytes_per_s": 1e6}, "memory"),
        ({"launch_s": 1.0}, "launch"),
    ):
        peaks = Peaks(**{**vars(PEAKS), **change})
        found = roofline(ops, times, peaks)
        assert found.layers[0].bound == found.layers[0].limit == bound
        assert found.shares[bound] == 1.0
        assert sum(found.shares.values()) == 1.0


def test_a_layer_far_from_all_bounds_is_limited_by_the_runtime(ops):
    found = roofline(ops, {"stem": 1e3}, PEAKS)
    assert found.layers[0].limit == "overhead"
    assert found.shares["overhead"] == 1.0
    assert "what the runtime does besides" in found.sentences[0]


def test_what_fits_the_cache_moves_at_its_rate():
    assert PEAKS.bytes_per_s(2**20) == 100e9
    assert PEAKS.bytes_per_s(2**20 + 1) == 10e9
    unknown = Peaks(**{**vars(PEAKS), "last_cache_bytes": None})
    assert unknown.bytes_per_s(1) == 10e9


def test_fewer_kernels_have_less_to_pay(ops):
    written = roofline(ops, {}, PEAKS)
    fused = roofline(ops, {}, PEAKS, num_kernels=len(ops) // 2)
    for layer, less in zip(written.layers, fused.layers, strict=True):
        assert less.least_ms["launch"] == pytest.approx(layer.least_ms["launch"] / 2, rel=0.01)


@pytest.mark.parametrize(
    ("address", "layer"),
    [
        ("stages.1.units.10.body.0.block.12.cross.0.conv", "stages.1.units.10.body.0.block.12"),
        ("stages.0.units.1.fusion.paths.0.1.0.conv", "stages.0.units.1.fusion"),
        ("stages.2.transition.paths.3.0", "stages.2.transition"),
        ("head.convs", "head"),
        ("", ""),
        ("backbone.stem", ""),
    ],
)
def test_addresses_belong_to_layers(address, layer):
    assert layer_of(address) == layer


def test_the_picture_is_written(tmp_path, ops):
    times = {op.address: 0.01 for op in ops}
    found = roofline(ops, times, PEAKS)
    path = draw_roofline(found, "a title", tmp_path / "new" / "roof.svg")
    assert "a title" in path.read_text(encoding="utf-8")
    assert len(found.sentences) == 3


def test_this_machine_is_measured():
    peaks = measure_peaks("eager", 1)
    assert peaks.macs_per_s > 1e8
    assert peaks.cache_bytes_per_s > 1e8
    assert peaks.memory_bytes_per_s > 1e8
    assert 0 < peaks.launch_s < 0.01
