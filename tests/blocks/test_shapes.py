"""Image sizes: height first, positive, divided by every stride."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks import BranchShape, BranchworkError, ImageSize, check_image_size

SIDES = st.integers(1, 99_999)


@given(height=SIDES, width=SIDES)
def test_a_size_survives_the_way_through_text(height, width):
    assert ImageSize.parse(str(ImageSize(height, width))) == ImageSize(height, width)


@pytest.mark.parametrize("text", ["256x192", " 256 X 192 ", "256\u00d7192"])
def test_height_comes_first(text):
    assert ImageSize.parse(text) == ImageSize(height=256, width=192)


@pytest.mark.parametrize(
    "text",
    ["", "256", "256x", "x192", "256x192x3", "-1x5", "1.5x2", "axb", "256,192", "9" * 5000 + "x1"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(BranchworkError, match="an image size is HEIGHTxWIDTH in pixels") as caught:
        ImageSize.parse(text)
    assert str(caught.value).endswith("write it like 256x192")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5)])
def test_sides_are_positive(height, width):
    with pytest.raises(BranchworkError, match="both sides must be at least 1 pixel"):
        ImageSize(height, width)
    with pytest.raises(BranchworkError):
        ImageSize.parse("0x5")


@given(height=st.integers(1, 4096), width=st.integers(1, 4096), power=st.integers(0, 7))
def test_a_size_that_a_stride_does_not_divide_is_told_the_next_that_it_does(height, width, power):
    size, stride = ImageSize(height, width), 2**power
    if height % stride == 0 and width % stride == 0:
        check_image_size("input", size, stride)
        return
    with pytest.raises(BranchworkError) as caught:
        check_image_size("input", size, stride)
    padded = ImageSize.parse(str(caught.value).rsplit(" ", 1)[1])
    check_image_size("input", padded, stride)
    assert 0 <= padded.height - height < stride
    assert 0 <= padded.width - width < stride


def test_a_branch_has_its_share_of_the_image():
    assert BranchShape(40, 8).at(ImageSize(256, 192)) == (40, 32, 24)
