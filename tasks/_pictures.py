"""Pictures: images of which no annotation file speaks, to be shown to a trained network."""

from __future__ import annotations

from dataclasses import dataclass

from ._images import ImageFile


@dataclass(frozen=True, kw_only=True)
class PersonBox:
    """Where somebody is in an image, in pixels.

    Attributes:
        left_px: Left edge.
        top_px: Upper edge.
        width_px: Width.
        height_px: Height.
        score: How sure it is that somebody is there, 0 to 1.
    """

    left_px: float
    top_px: float
    width_px: float
    height_px: float
    score: float = 1.0

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """Left, top, width, height."""
        return (self.left_px, self.top_px, self.width_px, self.height_px)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image that is nobody's data set.

    Attributes:
        name: What files made of it are called, without a suffix; no two pictures share one.
        image_id: Its number in predictions.
        file: The image.
        boxes: The people in it; None where nobody looked for them.
    """

    name: str
    image_id: int
    file: ImageFile
    boxes: tuple[PersonBox, ...] | None = None

    @property
    def people(self) -> tuple[PersonBox, ...]:
        """The people in it: where nobody looked for them, one who fills it."""
        if self.boxes is not None:
            return self.boxes
        whole = PersonBox(
            left_px=0, top_px=0, width_px=self.file.width_px, height_px=self.file.height_px
        )
        return (whole,)
