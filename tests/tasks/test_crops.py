"""Crops against HRNet's formula, written down here a second time, and the way back."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import ImageSize
from tasks._augmentation import Augmentation
from tasks._crops import Crop, apply_affine, crop_of_box, invert_affine, warp

SIZES = st.sampled_from([ImageSize(256, 192), ImageSize(96, 64), ImageSize(64, 64)])
SIDES = st.floats(2, 400)


def hrnet_map(box, image_wh, size, rotation_deg=0.0):
    """HRNet's way: clip, centre and scale, three points by rotating an arrow, solve.

    The box is cut to the image with its last pixel included. Its centre is its middle; its
    width and height are raised to the input's aspect ratio and both multiplied by 1.25. Then the
    centre goes to the middle of the input, the point half a crop's width straight above the
    centre (turned by the angle) goes half the input's width above the middle, and the third
    point completes a right angle.
    """
    x, y, w, h = box
    x1, y1 = max(0, x), max(0, y)
    x2 = min(image_wh[0] - 1, x1 + max(0, w - 1))
    y2 = min(image_wh[1] - 1, y1 + max(0, h - 1))
    w, h = x2 - x1, y2 - y1
    centre = np.array([x1 + w * 0.5, y1 + h * 0.5])
    aspect = size.width / size.height
    if w > aspect * h:
        h = w / aspect
    elif w < aspect * h:
        w = h * aspect
    crop_width = w * 1.25

    sine, cosine = math.sin(math.radians(rotation_deg)), math.cos(math.radians(rotation_deg))
    up = np.array([0.0, -0.5 * crop_width])
    arrow = np.array([up[0] * cosine - up[1] * sine, up[0] * sine + up[1] * cosine])
    middle = np.array([size.width * 0.5, size.height * 0.5])
    input_arrow = np.array([0.0, -0.5 * size.width])

    def third(first, second):
        direction = first - second
        return second + np.array([-direction[1], direction[0]])

    source = [centre, centre + arrow, third(centre, centre + arrow)]
    target = [middle, middle + input_arrow, third(middle, middle + input_arrow)]
    homogeneous = np.column_stack([np.array(source), np.ones(3)])
    return np.linalg.solve(homogeneous, np.array(target)).T


@given(
    left=st.floats(-30, 250),
    top=st.floats(-30, 250),
    width=SIDES,
    height=SIDES,
    size=SIZES,
    rotation_deg=st.floats(-90, 90),
)
def test_crops_are_hrnets(*, left, top, width, height, size, rotation_deg):
    box = (left, top, width, height)
    crop = crop_of_box(box, image_width_px=320, image_height_px=280, size=size)
    if crop is None:
        return
    ours = replace(crop, rotation_deg=rotation_deg).to_input(size)
    expected = hrnet_map(box, (320, 280), size, rotation_deg)
    corners = np.array([[0.0, 0.0], [320, 0], [0, 280]])
    np.testing.assert_allclose(
        apply_affine(ours, corners), apply_affine(expected, corners), rtol=1e-6, atol=1e-4
    )


def test_a_crop_of_a_box_that_was_worked_out_by_hand():
    # 60x40 at (100, 50): x to 159, y to 89. 59 wide at 3:4 needs more than 39 high.
    crop = crop_of_box(
        [100, 50, 60, 40], image_width_px=640, image_height_px=480, size=ImageSize(256, 192)
    )
    assert crop == Crop(x_px=129.5, y_px=69.5, width_px=73.75)
    matrix = crop.to_input(ImageSize(256, 192))
    assert apply_affine(matrix, np.array([[129.5, 69.5]])) == pytest.approx(np.array([[96, 128]]))


@pytest.mark.parametrize(
    "box", [[700, 10, 20, 20], [10, 10, 0, 0], [10, 10, 1, 1], [-50, -50, -3, -4], [5, 600, 3, 9]]
)
def test_a_box_outside_the_image_or_empty_has_no_crop(box):
    size = ImageSize(64, 64)
    assert crop_of_box(box, image_width_px=640, image_height_px=480, size=size) is None


@given(
    x=st.floats(-500, 500),
    width=SIDES,
    rotation_deg=st.floats(-90, 90),
    mirrored=st.booleans(),
    size=SIZES,
)
def test_the_way_back_leads_back(x, width, rotation_deg, mirrored, size):
    crop = Crop(x_px=x, y_px=70, width_px=width, rotation_deg=rotation_deg, mirrored=mirrored)
    matrix = crop.to_input(size)
    points = np.array([[x, 70.0], [0, 0], [31, 5]])
    back = apply_affine(invert_affine(matrix), apply_affine(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-6)
    assert np.sign(np.linalg.det(matrix[:, :2])) == (-1 if mirrored else 1)


def test_a_mirrored_crop_is_the_mirrored_image():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (9, 7, 3), np.uint8), (70, 90))
    size = ImageSize(64, 48)
    crop = Crop(x_px=30, y_px=40, width_px=24)
    straight = warp(image, crop.to_input(size), size)
    mirrored = warp(image, replace(crop, mirrored=True).to_input(size), size)
    # The centre lies on a pixel's edge, so the mirror image of column x is column W - x.
    assert np.abs(mirrored[:, 1:].astype(int) - straight[:, :0:-1]).max() <= 2
    np.testing.assert_array_equal(straight[32, 24], image[40, 30])


def test_augmentation_stays_within_its_bounds_and_draws_alike():
    crop = Crop(x_px=5, y_px=6, width_px=100)
    varied = [Augmentation().apply(crop, np.random.default_rng(seed)) for seed in range(400)]
    scales = np.array([one.width_px for one in varied]) / 100
    angles = np.array([one.rotation_deg for one in varied])
    assert 0.65 <= scales.min() < 0.7
    assert 1.3 < scales.max() <= 1.35
    assert 60 < np.abs(angles).max() <= 90
    assert 0.5 < (angles != 0).mean() < 0.7
    assert 0.42 < np.mean([one.mirrored for one in varied]) < 0.58
    assert varied[3] == Augmentation().apply(crop, np.random.default_rng(3))
    still = Augmentation(scale=0, rotation_probability=0, mirror_probability=0)
    assert still.apply(crop, np.random.default_rng(0)) == crop
    rngs = [np.random.default_rng(0), np.random.default_rng(0)]
    for augmentation, rng in zip((still, Augmentation()), rngs, strict=True):
        augmentation.apply(crop, rng)
    assert rngs[0].random() == rngs[1].random()
