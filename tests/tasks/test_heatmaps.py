"""Heat maps: what is written can be read back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import ImageSize
from tasks._heatmaps import decode, encode, target_sigma_px

SIZE = ImageSize(64, 48)


@given(x=st.floats(4, 40), y=st.floats(4, 56))
def test_a_key_point_comes_back_within_half_a_heat_map_pixel(x, y):
    maps, weight = encode(np.array([[x, y]]), np.array([True]), SIZE)
    points, peaks = decode(maps[None])
    assert weight == [1]
    assert peaks == [[1]]
    # The quarter offset finds no higher side around a centre that was rounded.
    assert np.abs(4 * points[0, 0] - (x, y)).max() <= 2 + 1e-6


def test_a_target_is_a_gaussian_cut_off_at_three_deviations():
    maps, _ = encode(np.array([[4 * 10.0, 4 * 20.0]]), np.array([True]), ImageSize(256, 192))
    rows, columns = np.mgrid[:64, :48]
    squared = (rows - 20) ** 2 + (columns - 10) ** 2
    expected = np.exp(-squared / (2 * 2.0**2))
    expected[(abs(rows - 20) > 6) | (abs(columns - 10) > 6)] = 0
    np.testing.assert_allclose(maps[0], expected, atol=1e-6)
    assert maps.dtype == np.float32


def test_what_is_unlabelled_or_out_of_reach_weighs_nothing():
    points = np.array([[8.0, 8.0], [8.0, 8.0], [-30.0, 8.0], [-10.0, 8.0], [1e12, -1e12]])
    labelled = np.array([True, False, True, True, True])
    maps, weight = encode(points, labelled, SIZE)
    # At 64 pixels of height the deviation is 1, so 10 px (2.5 heat-map pixels) is within reach.
    assert weight.tolist() == [1, 0, 0, 1, 0]
    assert [bool(one.any()) for one in maps] == [True, False, False, True, False]


@pytest.mark.parametrize(("height", "sigma_px"), [(64, 1), (128, 1), (256, 2), (384, 3)])
def test_targets_grow_with_the_input(height, sigma_px):
    assert target_sigma_px(ImageSize(height, height)) == sigma_px


def test_a_peak_moves_a_quarter_towards_its_higher_neighbour():
    maps = np.zeros((1, 4, 8, 8), np.float32)
    maps[0, 0, 3, 4], maps[0, 0, 3, 5], maps[0, 0, 2, 4] = 1, 0.5, 0.2
    maps[0, 1, 0, 7] = 1
    maps[0, 1, 0, 6] = 0.5
    maps[0, 2] = -1
    maps[0, 3, 3, 4] = np.nan
    points, peaks = decode(maps)
    assert points[0].tolist() == [[4.25, 2.75], [7, 0], [0, 0], [0, 0]]
    assert peaks[0].tolist() == [1, 1, -1, 0]


@given(x=st.floats(3, 9), y=st.floats(3, 12), width=st.floats(0.8, 2))
def test_dark_finds_the_centre_of_a_gaussian_between_pixels(x, y, width):
    rows, columns = np.mgrid[:16, :13]
    gaussian = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))
    points, _ = decode(gaussian[None, None].astype(np.float32), "dark", 1.0)
    quarter, _ = decode(gaussian[None, None].astype(np.float32))
    error_px = np.abs(points[0, 0] - (x, y)).max()
    assert error_px < 0.1
    assert error_px <= np.abs(quarter[0, 0] - (x, y)).max() + 0.05


def test_dark_reads_the_published_numbers_off_a_map():
    # Worked out by hand: a parabola in the logarithm, so that one step leads to its top.
    rows, columns = np.mgrid[:11, :11]
    maps = np.exp(-((columns - 5.3) ** 2) / 8 - (rows - 4.8) ** 2 / 8).astype(np.float32)
    points, peaks = decode(maps[None, None], "dark", 0.3)
    assert points[0, 0] == pytest.approx([5.3, 4.8], abs=1e-4)
    assert peaks[0, 0] == maps.max()


def test_dark_leaves_peaks_at_the_border_and_flat_maps_where_they_are():
    maps = np.zeros((1, 3, 8, 8), np.float32)
    maps[0, 0, 1, 4] = 1
    maps[0, 1] = 0.5
    maps[0, 2] = -1
    points, _ = decode(maps, "dark", 1.0)
    assert points[0].tolist() == [[4, 1], [0, 0], [0, 0]]
