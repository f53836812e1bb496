"""Label sets: which ids label images hold, which of them are classes, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ._label_files import LabelImage

IGNORED = 255
"""What stands, in a target, for pixels that count for nothing."""


@dataclass(frozen=True)
class LabelSet:
    """The ids of a data set's label images.

    Attributes:
        num_ids: Ids run from 0 to below this.
        class_names: The classes, in the order of the network's outputs.
        class_ids: Each class's id.
        categories: Each class's category; empty where the data set has none.
        void_categories: Categories without a class, which reports name too.
    """

    num_ids: int
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    categories: tuple[str, ...] = ()
    void_categories: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids that label images may hold."""
        return tuple(range(self.num_ids))

    @cached_property
    def _to_target(self) -> npt.NDArray[np.uint8]:
        table = np.full(256, IGNORED, dtype=np.uint8)
        table[list(self.class_ids)] = np.arange(self.num_classes)
        return table

    def to_target(self, labels: LabelImage) -> LabelImage:
        """Turns ids into the numbers of classes, all that is no class into ``IGNORED``."""
        target: LabelImage = self._to_target[labels]
        return target

    def to_labels(self, classes: LabelImage) -> LabelImage:
        """Turns the numbers of classes into ids."""
        labels: LabelImage = np.asarray(self.class_ids, dtype=np.uint8)[classes]
        return labels


def enumerated(class_names: tuple[str, ...]) -> LabelSet:
    """Returns the label set of classes numbered from 0, and one id more for what is unlabelled."""
    return LabelSet(
        num_ids=len(class_names) + 1,
        class_names=class_names,
        class_ids=tuple(range(len(class_names))),
    )
