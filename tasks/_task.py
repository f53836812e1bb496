"""What a network is for: the interface of a task, and the registry of tasks."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor, nn

from blocks import BranchworkError, ImageSize, Problem, Registry, did_you_mean

from ._batch import Batch, Item
from ._outputs import OUTPUT_NAMES
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

    metric: ClassVar[str]
    """The metric by which networks are compared, a key of ``ImageResults.metrics``."""

    default_input: ClassVar[ImageSize]
    """The input size where the user names none."""

    stride: ClassVar[int | None] = 4
    """Stride that the network's output must have; None if the task takes any."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """Number of channels that the network puts out."""

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
        name: What study files call it; ``OUTPUT_NAMES`` names its outputs.
        revision: Raised by one whenever its numerics change.
        aliases: Other names under which users may write it.
    """
    file = TASKS.register(name, revision=revision, aliases=aliases)

    def decorate(cls: type[T]) -> type[T]:
        file(cls)
        return cls

    return decorate


def trainable_task(name: str) -> type[Task]:
    """Returns the class of a task that a network can be trained for.

    Raises:
        BranchworkError: If no task has the name, or if its data cannot be read yet.
    """
    if name in TASKS:
        return TASKS.get(name).cls
    trainable = [entry.name for entry in TASKS]
    known = name in OUTPUT_NAMES
    raise BranchworkError(
        Problem(
            where="task",
            rule="a network can be trained only for a task whose data Branchwork reads",
            got=f"{name!r}, " + ("known for its number of outputs only" if known else "unknown"),
            do=f"choose one of {', '.join(trainable)}" if known else did_you_mean(name, trainable),
        )
    )


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
        if name not in known or type(value) is not type(known[name])
    ]
    if problems:
        raise BranchworkError(problems)
    return cls(**options)
