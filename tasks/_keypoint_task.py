"""What all key-point tasks share: people in boxes, heat maps, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from torch import Tensor, nn

from blocks import BranchworkError, ImageSize, Problem, did_you_mean

from ._augmentation import Augmentation
from ._batch import Batch
from ._crops import PADDING
from ._drawing import draw_people
from ._heatmaps import Decoding, target_sigma_px
from ._images import ByteImage
from ._keypoint_pictures import open_people_in_pictures, people_of_picture
from ._keypoint_predictions import predict_keypoints
from ._keypoints import mirrored_joints
from ._pictures import Picture
from ._skeletons import Skeleton
from ._task import Task, TaskData


@dataclass(frozen=True, kw_only=True)
class KeypointTask(Task):
    """Top-down key points of people: one person a crop, one heat map a key point.

    Trained and decoded as in HRNet (Sun et al., *Deep High-Resolution Representation Learning for
    Human Pose Estimation*, CVPR 2019). ``outputs`` are the key points.

    Attributes:
        flip_test: Whether predictions average the image and its mirror image.
        decoding: ``quarter_offset`` (HRNet's) or ``dark``.
    """

    skeleton: ClassVar[Skeleton]
    """How people are drawn."""

    augmentation: ClassVar[Augmentation] = Augmentation()
    """How training items are varied."""

    flip_test: bool = True
    decoding: Decoding = "quarter_offset"

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If there is no such decoding.
        """
        if self.decoding not in get_args(Decoding):
            raise BranchworkError(
                Problem(
                    where=f"{self.name}.decoding",
                    rule=f"the option is one of {', '.join(get_args(Decoding))}",
                    got=repr(self.decoding),
                    do=did_you_mean(self.decoding, get_args(Decoding)),
                )
            )

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns HRNet's loss: half the squared error of the heat maps.

        The mean over items, key points and pixels of ``0.5 w (output - target)^2``, w being the
        key point's weight. Key points that are not labelled count as a zero in the mean, as in
        HRNet's published code.

        Shape:
            (N, K, H/4, W/4) -> ().
        """
        error = (outputs - batch.target).square().mean(dim=(2, 3))
        return 0.5 * (batch.weight * error).mean()

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one prediction a person, in COCO's results form and with its annotation id."""
        return predict_keypoints(
            module,
            batch,
            flip_test=self.flip_test,
            decoding=self.decoding,
            mirrored=mirrored_joints(self.outputs),
        )

    def suppressed(self, predictions: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Returns predictions without the weaker ones of the same person; all, by default."""
        return predictions

    def open_pictures(self, pictures: Sequence[Picture], size: ImageSize) -> TaskData:
        """Opens the people in pictures, in their boxes as they are.

        Raises:
            DataError: If no image can be read.
            BranchworkError: If the size is not a multiple of 4.
        """
        return open_people_in_pictures(pictures, size, self.outputs)

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Draws people's skeletons: their left blue, their right orange.

        Shape:
            (H, W, 3) in and out.
        """
        return draw_people(pixels, self.suppressed(predictions), self.skeleton)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Returns the people of a picture in COCO's results form."""
        del folder
        return people_of_picture(picture, self.suppressed(predictions))

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return {
            "metric": self.metric,
            "similarity": "oks",
            "boxes": "ground_truth",
            "nms": "none",
            "flip_test": self.flip_test,
            "decoding": self.decoding,
            "padding": PADDING,
            "target": "gaussian",
            "target_sigma_at_256_px": target_sigma_px(ImageSize(256, 192)),
            "loss": "joints_mse",
            "augmentation": {
                "scale": self.augmentation.scale,
                "rotation_deg": self.augmentation.rotation_deg,
                "rotation_probability": self.augmentation.rotation_probability,
                "mirror_probability": self.augmentation.mirror_probability,
            },
        }
