"""What a network is for: the interface of a task, and the registry of tasks."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor, nn

from blocks import BranchworkError, DataError, ImageSize, Problem, Registry, did_you_mean

from ._batch import Batch, Item
from ._diagnosis import Diagnosis
from ._images import ByteImage
from ._pictures import Picture
from ._results import ImageResults

Role = Literal["train", "val"]
"""What a split is opened for: to learn from it, or to be scored on it."""


class TaskData(ABC):
    """One split of a task's data, opened at one input size."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call the split in tables."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """12 hex digits that tell data apart; equal data have equal ones wherever they lie."""

    @property
    @abstractmethod
    def num_images(self) -> int:
        """Number of images that the split is scored on."""

    @property
    @abstractmethod
    def skipped(self) -> tuple[str, ...]:
        """The images that could not be read, each with the reason; they count for nothing."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of items."""

    @abstractmethod
    def train_item(self, index: int, seed: int) -> Item:
        """Returns an item, augmented; equal index and seed give equal items.

        Args:
            index: Which item, from 0.
            seed: A number from 0 upward, another one for each pass over the data.
        """

    @abstractmethod
    def eval_item(self, index: int) -> Item:
        """Returns an item as it is scored: not augmented."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What a network is for: data, targets, loss, decoding and metric. Its fields are options."""

    name: ClassVar[str]
    """Its registered name."""

    outputs: ClassVar[tuple[str, ...]]
    """What its networks put out: the names of key points or classes, in order."""

    metric: ClassVar[str]
    """The metric by which networks are compared, a key of ``ImageResults.metrics``."""

    results: ClassVar[type[ImageResults]]
    """The per-image results that ``score`` gives."""

    default_input: ClassVar[ImageSize]
    """The input size where the user names none: that at which networks are usually compared."""

    stride: ClassVar[int | None] = 4
    """Stride that the network's output must have; None if the task takes any."""

    boxed: ClassVar[bool] = True
    """Whether the network is shown the boxes of people, and not whole images."""

    prediction_suffixes: ClassVar[tuple[str, ...]] = ()
    """How the names of files of predictions may end; none where predictions are a folder."""

    @property
    def num_outputs(self) -> int:
        """Number of channels that the network puts out."""
        return len(self.outputs)

    @abstractmethod
    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        Args:
            data: The data set's folder; None for a task that brings its own data.
            split: Which split.
            size: The network's input size.

        Raises:
            DataError: If the data cannot be used.
            BranchworkError: If the size does not suit the stride.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns the loss to be minimised, a scalar.

        Args:
            outputs: The network's output (N, num_outputs, H/s, W/s).
            batch: What it was given.
        """

    @abstractmethod
    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Runs a network and returns one prediction an item, in plain values.

        The module's mode is left as it is (call ``module.eval()`` before), no gradient is kept.

        Args:
            module: Takes one tensor (N, 3, H, W), returns one (N, num_outputs, H/s, W/s).
            batch: On the module's device.
        """

    @abstractmethod
    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores the predictions of all items of a split.

        Raises:
            DataError: If a prediction is for an image that the split does not have.
        """

    @abstractmethod
    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores predictions that lie in files, wherever they were made; no image is opened.

        Args:
            annotations: The file or folder with the truth, in the data set's own form.
            predictions: The file or folder with the predictions, in the field's usual form.

        Raises:
            DataError: If a file is missing or cannot be used, or if the two do not fit.
        """

    @abstractmethod
    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes the predictions of a split so that ``score_files`` can read them.

        Args:
            data: The split.
            predictions: One an item, as ``predict`` returns them.
            out: The file or folder to write, as ``score_files`` takes it.

        Raises:
            BranchworkError: If the file cannot have that name.
        """

    @abstractmethod
    def diagnose(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], results: ImageResults
    ) -> Diagnosis:
        """Returns where the errors of predictions lie.

        Args:
            data: The split.
            predictions: One an item.
            results: What ``score`` gave for them.
        """

    @abstractmethod
    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns where the errors of predictions in files lie.

        Args:
            annotations: The truth.
            predictions: The predictions.
            results: What ``score_files`` gave for these two: they have been checked.
        """

    @abstractmethod
    def open_pictures(self, pictures: Sequence[Picture], size: ImageSize) -> TaskData:
        """Opens images without labels, to be shown to a network and not to be scored.

        Args:
            pictures: The images; one item for every box where the task has boxes.
            size: The network's input size.

        Raises:
            DataError: If an image cannot be read.
            BranchworkError: If the size does not suit the stride.
        """

    @abstractmethod
    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Draws predictions into their image.

        Args:
            pixels: The image (height, width, 3), which stays as it is.
            predictions: All of this image, as ``predict`` returns them.

        Returns:
            A new image of the same size.
        """

    def legend(self) -> ByteImage | None:
        """Returns what overlays' colours mean, as an image; None where it needs none."""
        return None

    @abstractmethod
    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Returns predictions of a picture as JSON takes them, and writes what JSON does not hold.

        Args:
            picture: The image.
            predictions: All of this image.
            folder: Where files may be written.
        """

    def write_submission(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> Path:
        """Writes the predictions of a split whose labels are secret as its server takes them.

        Args:
            data: The split.
            predictions: One an item, as ``predict`` returns them.
            out: The file or folder to write; a task may add what the server's names need.

        Returns:
            What is to be uploaded.

        Raises:
            BranchworkError: If no server takes predictions of this task, or if the file cannot
                have that name.
        """
        del data, predictions
        raise BranchworkError(
            Problem(
                where=str(out),
                rule="predictions are submitted where the labels of a split are secret",
                got=f"{type(self).__name__}, for which no server's form is known",
                do="keep the predictions with --save-predictions",
            )
        )

    @abstractmethod
    def evaluation(self) -> dict[str, Any]:
        """Returns the settings that must be equal for scores to be comparable, JSON-able."""


TASKS: Registry[Task] = Registry("task")
"""The tasks that a network can be trained for, by name."""

T = TypeVar("T", bound=Task)


def register_task(
    name: str, *, revision: int = 1, aliases: tuple[str, ...] = ()
) -> Callable[[type[T]], type[T]]:
    """Registers a task.

    Args:
        name: What study files call it.
        revision: Raised by one whenever its numerics change.
        aliases: Other names under which users may write it.
    """
    file = TASKS.register(name, revision=revision, aliases=aliases)

    def decorate(cls: type[T]) -> type[T]:
        file(cls)
        cls.name = name
        return cls

    return decorate


def find_task(name: str) -> type[Task]:
    """Returns the class of a task.

    Raises:
        BranchworkError: If no task has the name.
    """
    if name in TASKS:
        return TASKS.get(name).cls
    raise BranchworkError(
        Problem(
            where="task",
            rule="a task must be a known one",
            got=repr(name),
            do=did_you_mean(name, [entry.name for entry in TASKS]),
        )
    )


def results_type(name: str) -> type[ImageResults]:
    """Returns the type of a task's per-image results.

    Raises:
        BranchworkError: If no task has the name.
    """
    return find_task(name).results


def data_folder(data: Path | None, task: str) -> Path:
    """Returns the data folder of a task that brings no data of its own.

    Raises:
        DataError: If none was given.
    """
    if data is None:
        raise DataError(
            Problem(
                where=task,
                rule="the task needs a data folder",
                got="none",
                do="give one with --data",
            )
        )
    return data


def make_task(cls: type[Task], options: Mapping[str, Any], where: str) -> Task:
    """Returns a task with options as a user wrote them.

    Args:
        cls: The task's class.
        options: Values by option name; the others keep their defaults.
        where: What messages put before an option's name, such as ``task.``.

    Raises:
        BranchworkError: With every option that the task does not have or cannot take.
    """
    known = {field.name: field.default for field in fields(cls)}
    problems = [
        Problem(
            where=f"{where}{name}",
            rule=f"the task has the options {', '.join(known)}",
            got=repr(name),
            do=did_you_mean(name, known),
        )
        if name not in known
        else Problem(
            where=f"{where}{name}",
            rule=f"the option is of the kind of {json.dumps(known[name])}",
            got=repr(value),
            do=f"write {json.dumps(known[name])}, for example",
        )
        for name, value in options.items()
        if name not in known or not _fits(value, known[name])
    ]
    if problems:
        raise BranchworkError(problems)
    # A whole number will do for a fraction.
    return cls(
        **{
            name: float(value) if isinstance(known[name], float) else value
            for name, value in options.items()
        }
    )


def _fits(value: object, default: object) -> bool:
    """Tells whether an option's value is of the kind of its default; truth is no number."""
    return type(value) is type(default) or (isinstance(default, float) and type(value) is int)
