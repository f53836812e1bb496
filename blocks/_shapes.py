"""What a branch and an image look like, without any tensor."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._errors import BranchworkError, Problem, quoted

Shape = tuple[int, ...]
"""The shape of one tensor without its batch dimension: (channels, height, width)."""


@dataclass(frozen=True)
class ImageSize:
    """A height and a width in pixels, written ``256x192`` (height first, as in the papers)."""

    height: int
    width: int

    def __post_init__(self) -> None:
        """Checks that both sides are positive.

        Raises:
            BranchworkError: If a side is not.
        """
        if self.height < 1 or self.width < 1:
            raise BranchworkError(
                Problem(
                    where="image size",
                    rule="both sides must be at least 1 pixel",
                    got=f"{self.height}x{self.width}",
                    do="write HEIGHTxWIDTH, such as 256x192",
                )
            )

    @classmethod
    def parse(cls, text: str) -> ImageSize:
        """Reads ``HEIGHTxWIDTH``.

        >>> ImageSize.parse("256x192")
        ImageSize(height=256, width=192)

        Raises:
            BranchworkError: If the text is anything else.
        """
        match = re.fullmatch(r"\s*(\d{1,6})\s*[xX\u00d7]\s*(\d{1,6})\s*", text)
        if match is None:
            raise BranchworkError(
                Problem(
                    where="image size",
                    rule="an image size is HEIGHTxWIDTH in pixels",
                    got=quoted(text),
                    do="write it like 256x192",
                )
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        """Writes ``HEIGHTxWIDTH``."""
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class BranchShape:
    """What a branch carries: its channels, and its stride relative to the image."""

    channels: int
    stride: int

    def at(self, size: ImageSize) -> Shape:
        """Returns the tensor shape (channels, height, width) for an image of this size.

        The image's sides are multiples of the stride; the network checks that once.
        """
        return (self.channels, size.height // self.stride, size.width // self.stride)


IMAGE = (BranchShape(3, 1),)
"""What every network starts from: three colour channels at stride 1."""


def check_image_size(where: str, size: ImageSize, coarsest_stride: int) -> None:
    """Checks that every stride divides the image.

    Raises:
        BranchworkError: If it does not; the message names the size to pad to.
    """
    if size.height % coarsest_stride or size.width % coarsest_stride:
        padded = ImageSize(
            -(-size.height // coarsest_stride) * coarsest_stride,
            -(-size.width // coarsest_stride) * coarsest_stride,
        )
        raise BranchworkError(
            Problem(
                where=where,
                rule=f"both sides must be multiples of the coarsest stride, {coarsest_stride}",
                got=str(size),
                do=f"pad the image to {padded}",
            )
        )
