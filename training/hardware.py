"""Where a run takes place: devices and nodes, and the Fabric that drives them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from blocks import BranchworkError, Problem, did_you_mean

ACCELERATORS = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a run takes place.

    With several devices each has a process of its own and a share of every batch. A batch norm
    then sees its own device's share only, and its running statistics, in evaluations and in the
    checkpoint, are those of the first device: a run on two devices is not, number for number,
    the run on one. On one node the processes are started by the run; on several nodes, or on one
    if it was, by ``torchrun``.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        devices: Number of devices of each node; the batch is divided over all of them.
        nodes: Number of machines.
        num_loaders: Processes that prepare batches, for each device; 0 prepares them in the
            run's own process.
        block_folders: Folders of blocks that the processes of several devices must load.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
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
                ("nodes", "there is at least 1 node", self.nodes, "use 1", self.nodes >= 1),
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

    @property
    def num_processes(self) -> int:
        """Number of processes of a run: one a device, over all nodes."""
        return self.devices * self.nodes


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How ``torchrun`` started this process among others.

    Attributes:
        devices: Processes of each node.
        nodes: Number of nodes.
        rank: This process among all, from 0.
    """

    devices: int
    nodes: int
    rank: int


def current_launch() -> Launch | None:
    """Returns how ``torchrun`` started this process, None if it did not."""
    if not TorchElasticEnvironment.detect():
        return None
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    return Launch(
        devices=devices,
        nodes=int(os.environ["WORLD_SIZE"]) // devices,
        rank=int(os.environ["RANK"]),
    )


def check_launch(hardware: Hardware) -> None:
    """Checks that the processes which the hardware needs are there, or can be started.

    Raises:
        BranchworkError: If there are others, or if there must be other nodes and are none.
    """
    launch = current_launch()
    if launch and (launch.devices, launch.nodes) != (hardware.devices, hardware.nodes):
        raise BranchworkError(
            Problem(
                where="hardware",
                rule="torchrun starts as many processes as the run has devices",
                got=f"{launch.devices} on each of {launch.nodes} nodes for "
                f"{hardware.devices} devices on each of {hardware.nodes}",
                do="leave out --devices and --nodes, which then follow torchrun",
            )
        )
    if not launch and hardware.nodes > 1:
        raise BranchworkError(
            Problem(
                where="hardware.nodes",
                rule="a run on several nodes is started by torchrun, on each of them",
                got=f"{hardware.nodes} nodes and no torchrun",
                do=f"run torchrun --nnodes {hardware.nodes} --nproc-per-node {hardware.devices} "
                "--rdzv-backend c10d --rdzv-endpoint HOST:PORT --no-python branchwork train ...",
            )
        )


def make_fabric(hardware: Hardware, precision: str) -> Fabric:
    """Returns the Fabric of one process.

    Raises:
        BranchworkError: If the machine does not have the devices.
    """
    # Its notes on every start would run through the progress bar.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # The parts that a network does not use (a branch that no head reads) are the same ones at
    # every step; without this, a second step over several devices would fail on them.
    strategy = DDPStrategy(static_graph=True) if hardware.num_processes > 1 else "auto"
    is_launched = current_launch() is not None
    try:
        return Fabric(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=strategy,
            precision=cast("Any", precision),
            # Not what a cluster's own variables say: the processes are ours, or torchrun's.
            plugins=[TorchElasticEnvironment() if is_launched else LightningEnvironment()],
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
