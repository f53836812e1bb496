"""Where a run takes place: devices, and the Fabric that drives them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from blocks import BranchworkError, Problem, did_you_mean

ACCELERATORS = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a run takes place.

    With several devices each has a process of its own and a share of every batch. A batch norm
    then sees its own device's share only, and its running statistics, in evaluations and in the
    checkpoint, are those of the first device: a run on two devices is not, number for number,
    the run on one.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        devices: Number of devices; the batch is divided over them.
        num_loaders: Processes that prepare batches, for each device; 0 prepares them in the
            run's own process.
        block_folders: Folders of blocks that the processes of several devices must load.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_loaders: int = 0
    block_folders: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Checks every setting.

        Raises:
            BranchworkError: With everything that is wrong.
        """
        problems = [
            Problem(where=f"hardware.{name}", rule=rule, got=repr(got), do=do)
            for name, rule, got, do, fits in (
                (
                    "accelerator",
                    "the accelerator is one that Branchwork knows",
                    self.accelerator,
                    did_you_mean(self.accelerator, ACCELERATORS),
                    self.accelerator in ACCELERATORS,
                ),
                ("devices", "there is at least 1 device", self.devices, "use 1", self.devices >= 1),
                (
                    "num_loaders",
                    "there are at least 0 loaders",
                    self.num_loaders,
                    "use 0",
                    self.num_loaders >= 0,
                ),
            )
            if not fits
        ]
        if problems:
            raise BranchworkError(problems)


def make_fabric(hardware: Hardware, precision: str) -> Fabric:
    """Returns the Fabric of one process.

    Raises:
        BranchworkError: If the machine does not have the devices.
    """
    # Its notes on every start would run through the progress bar.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # The parts that a network does not use (a branch that no head reads) are the same ones at
    # every step; without this, a second step over several devices would fail on them.
    strategy = DDPStrategy(static_graph=True) if hardware.devices > 1 else "auto"
    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            strategy=strategy,
            precision=cast("Any", precision),
            # Not what a cluster's own variables say: the processes are ours.
            plugins=[LightningEnvironment()],
        )
    except (RuntimeError, ValueError) as error:
        raise BranchworkError(
            Problem(
                where="hardware",
                rule="a run needs the devices that it asks for",
                got=" ".join(str(error).split()),
                do="ask for fewer devices, or for the accelerator 'cpu'",
            )
        ) from error
