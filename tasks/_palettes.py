"""Palettes: the colours of classes in overlays, as the data sets themselves draw them."""

from __future__ import annotations

from collections.abc import Mapping

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

Palette = Mapping[str, Colour]
"""Colours by the name of the class."""

CITYSCAPES_PALETTE: Palette = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
"""Cityscapes' own colours."""

CAMVID_PALETTE: Palette = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
"""CamVid's own colours."""

STREET_PALETTE: Palette = {
    "road": (128, 64, 128),
    "pavement": (244, 35, 232),
    "building": (70, 70, 70),
    "vegetation": (107, 142, 35),
    "sky": (70, 130, 180),
    "pole": (153, 153, 153),
    "car": (0, 0, 142),
    "person": (220, 20, 60),
}
"""The synthetic street scenes, in the colours of Cityscapes."""
