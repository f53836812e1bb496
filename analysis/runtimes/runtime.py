"""What every runtime does: it prepares a network for one kind of batch, and runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from blocks import BranchworkError, ImageSize, Problem, did_you_mean

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The number formats that latencies are measured in."""


class UnusableRuntimeError(BranchworkError):
    """A runtime is not here, or cannot run a network as asked."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a network is prepared for.

    Attributes:
        size: The image's size.
        batch: Images a pass.
        threads: Threads that the runtime may use.
        dtype: Number format of weights and activations, a key of ``DTYPES``.
    """

    size: ImageSize
    batch: int = 1
    threads: int = 1
    dtype: str = "float32"

    def images(self) -> Tensor:
        """Returns the batch that everything runs on: noise from one seed, float32.

        Shape:
            (batch, 3, height, width).
        """
        shape = (self.batch, 3, self.size.height, self.size.width)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))


class Observer(Protocol):
    """Runs a network under its runtime's profiler."""

    def observe(self) -> None:
        """Makes a few passes; of each kernel the fastest counts."""

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed, as ``analysis.execution.Executed`` has it, and ends it."""


class Prepared(ABC):
    """A network that is ready to run on one batch of images, again and again."""

    @abstractmethod
    def run(self) -> object:
        """Makes one forward pass and returns when it is done."""

    @abstractmethod
    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one forward pass and returns what it puts out, on the CPU, as float32."""

    @abstractmethod
    def num_kernels(self) -> int | None:
        """Returns how many operators a pass executes, None where the runtime does not tell."""

    @abstractmethod
    def layer_times_ms(self) -> Mapping[str, float] | None:
        """Returns how long each address takes, None where the runtime does not tell.

        Observing costs time itself, so these say where time goes rather than how much it is.
        What belongs to no address stands under "".
        """

    def observer(self) -> Observer | None:
        """Returns the same network under a profiler, None where there is none."""
        return None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Is the context in which it runs."""
        yield


class Runtime(ABC):
    """Executes networks."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How records, study files and the command line call it."""

    @property
    @abstractmethod
    def package(self) -> str:
        """The distribution that its numbers depend on."""

    @property
    @abstractmethod
    def dtypes(self) -> tuple[str, ...]:
        """The number formats that it can be asked for."""

    @property
    def uses_cores(self) -> bool:
        """Whether networks run on the processor's cores; not so on a GPU."""
        return True

    @abstractmethod
    def missing(self) -> Problem | None:
        """Returns what it lacks on this machine, None if it can run."""

    @abstractmethod
    def prepare(self, module: nn.Module, conditions: Conditions) -> Prepared:
        """Makes a network ready.

        Args:
            module: A module from images (N, 3, H, W) to tensors; it is left as it is.
            conditions: What for.

        Raises:
            UnusableRuntimeError: If it cannot run this network so.
        """

    @property
    def version(self) -> str:
        """Name and version of what it is, such as ``torch 2.13.0``."""
        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            return ""

    def check(self, conditions: Conditions) -> None:
        """Checks that it can run here, and in the number format that is asked for.

        Raises:
            UnusableRuntimeError: If it cannot.
        """
        missing = self.missing()
        if missing is not None:
            raise UnusableRuntimeError(missing)
        if conditions.dtype not in self.dtypes:
            raise UnusableRuntimeError(
                Problem(
                    where=self.name,
                    rule="a number format is one that the runtime computes in",
                    got=repr(conditions.dtype),
                    do=did_you_mean(conditions.dtype, self.dtypes),
                )
            )

    def cannot_run(self, error: Exception) -> UnusableRuntimeError:
        """Returns what a library raised, as a problem of this runtime."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # Compilers begin with a heading and say what is wrong below it.
        said = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or "no message"
        return UnusableRuntimeError(
            Problem(
                where=self.name,
                rule="a runtime has the operators and the memory that the network needs",
                got=f"{type(error).__name__}: {said}",
                do="measure it in another runtime, or a smaller one",
            )
        )


def missing_package(runtime: str, package: str, extra: str) -> Problem:
    """Returns what to do about a runtime whose package is not installed."""
    return Problem(
        where=runtime,
        rule="a runtime that measures is installed",
        got=f"no package {package!r}",
        do=f"""run pip install "branchwork[{extra}]\"""",
    )


def as_outputs(result: object) -> tuple[Tensor, ...]:
    """Returns the tensors that a module put out, on the CPU, as float32."""
    return tuple(
        leaf.detach().to("cpu", torch.float32)
        for leaf in tree_leaves(result)
        if isinstance(leaf, Tensor)
    )


@contextmanager
def pytorch_threads(count: int) -> Iterator[None]:
    """Lets PyTorch use so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
