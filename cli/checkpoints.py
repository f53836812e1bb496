"""Trained networks from checkpoints: those of our own runs, and published ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blocks import CheckpointError, ImageSize, Problem
from cli.networks import NamedNetwork
from networks import Network, NetworkSpec, load_released, spec_from_dict, spec_id
from training import Checkpoint, load_checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """A network with trained weights.

    Attributes:
        name: What the user called it.
        spec: What it is made of.
        module: The network, in eval mode, on the CPU.
        input: The input size that it was trained at, None where the file does not say.
    """

    name: str
    spec: NetworkSpec
    module: Network
    input: ImageSize | None


def load_trained(path: Path, network: NamedNetwork | None, num_outputs: int) -> TrainedNetwork:
    """Loads a checkpoint of one of our runs, or one of the published Lite-HRNet code.

    Args:
        path: The file.
        network: What it is to be; None for what a run of ours says.
        num_outputs: How many channels it must put out.

    Raises:
        CheckpointError: If the file cannot be read, or holds another network.
        SpecError: If a published checkpoint is to be of a network that was not published.
    """
    if not path.is_file():
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a checkpoint is a file",
                got="a folder" if path.is_dir() else "no such file",
                do="name RUN/last.ckpt, or a .pth file of the published code",
            )
        )
    try:
        run = load_checkpoint(path)
    except CheckpointError as error:
        if network is None:
            raise _unnamed(path, error) from None
        trained = _published(path, network)
    else:
        trained = _own(path, run, network)
    if trained.spec.num_outputs != num_outputs:
        raise CheckpointError(
            Problem(
                where=str(path),
                rule=f"the task needs a network with {num_outputs} outputs",
                got=str(trained.spec.num_outputs),
                do="name a checkpoint that was trained for the task",
            )
        )
    return trained


def task_of(path: Path) -> str | None:
    """Returns what a run of ours was trained for; None for any other file."""
    if not path.is_file():
        return None
    try:
        return load_checkpoint(path).identity.task
    except CheckpointError:
        return None


def _own(path: Path, run: Checkpoint, network: NamedNetwork | None) -> TrainedNetwork:
    spec = spec_from_dict(run.spec)
    if network is not None and spec_id(network.spec) != spec_id(spec):
        raise CheckpointError(
            Problem(
                where=str(path),
                rule=f"the checkpoint must be of {network.name}, {spec_id(network.spec)}",
                got=f"one of the network {spec_id(spec)}, trained for {run.identity.task}",
                do="name its own network, or none (predict: -): the checkpoint says it",
            )
        )
    module = spec.build()
    module.load_state_dict(run.model)
    return TrainedNetwork(
        name=network.name if network else spec_id(spec),
        spec=spec,
        module=module.eval(),
        input=ImageSize.parse(run.identity.input),
    )


def _published(path: Path, network: NamedNetwork) -> TrainedNetwork:
    module = load_released(path, network.name)
    # A published checkpoint has as many outputs as its last layer, whatever the task wants.
    *_, last = (value for value in module.parameters())
    spec = network.spec.with_outputs(last.shape[0])
    return TrainedNetwork(name=network.name, spec=spec, module=module, input=None)


def _unnamed(path: Path, error: CheckpointError) -> CheckpointError:
    return CheckpointError(
        Problem(
            where=str(path),
            rule="only the checkpoints of our own runs say which network they are of",
            got=error.problems[0].got,
            do="name the network with --network",
        )
    )
