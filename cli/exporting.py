"""Exporting networks: which weights, which file, and whether it computes what it should."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, Problem, check_image_size, did_you_mean
from cli.checkpoints import load_trained, task_of
from cli.networks import NamedNetwork, find_networks, input_of
from cli.options import DEFAULT_TASK
from cli.output import say
from networks import NetworkSpec, initialise, spec_id
from networks.deploy.onnx_checking import check_outputs
from networks.deploy.onnx_names import OPSET
from networks.deploy.onnx_writing import check_onnx_is_installed, to_onnx
from tasks import find_task

_SUFFIX = ".onnx"
_OWN_NAME = "-"
_NUM_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """What the command line asks for.

    Attributes:
        networks: The networks as the user named them.
        to: The form of the files.
        out: A file or a folder, None for the working folder.
        input: The image size as the user wrote it, None for the usual one.
        task: The task that sets the outputs, None for the network's own.
        batch: How many images go in at once.
        checkpoint: Trained weights, None for random ones.
        rewrite: Whether to write the network in fewer steps.
        blocked: Whether these are for a runtime that keeps channels in blocks.
        seed: Seed of random weights.
        changes: ``ADDRESS=VALUE`` texts.
    """

    networks: tuple[str, ...]
    to: str
    out: Path | None
    input: str | None
    task: str | None
    batch: int
    checkpoint: Path | None
    rewrite: bool
    blocked: bool
    seed: int
    changes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Weighted:
    """A network with the weights that it is exported with."""

    name: str
    spec: NetworkSpec
    task: str
    module: nn.Module
    size: ImageSize
    weights: str


def export_networks(
    job: ExportJob, store: RunStore
) -> tuple[list[dict[str, Any]], BranchworkError | None]:
    """Writes one file for each network.

    Args:
        job: What is asked for.
        store: Where spec_ids are looked up.

    Returns:
        What was written, as plain data, and what went wrong with the other networks, if anything.

    Raises:
        BranchworkError: If nothing can be written as asked.
        OSError: If a file cannot be written.
    """
    _check(job)
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for loaded in _networks(job, store):
        try:
            weighted = loaded()
            say(f"exporting {weighted.name} at {weighted.size}")
            rows.append(_FORMS[job.to](weighted, job))
        except BranchworkError as error:
            problems.extend(error.problems)
    return rows, BranchworkError(problems) if problems else None


def _check(job: ExportJob) -> None:
    problems = []
    if job.to not in _FORMS:
        problems.append(
            Problem(
                where="--to",
                rule=f"networks are exported as {', '.join(_FORMS)}",
                got=repr(job.to),
                do=did_you_mean(job.to, _FORMS),
            )
        )
    if len(job.networks) > 1 and job.checkpoint is not None:
        problems.append(
            Problem(
                where="--checkpoint",
                rule="a checkpoint is of one network",
                got=f"{len(job.networks)} networks",
                do="export them one by one",
            )
        )
    if len(job.networks) > 1 and job.out is not None and _is_file(job.out):
        problems.append(
            Problem(
                where="--out",
                rule="several networks need a folder",
                got=str(job.out),
                do="name a folder",
            )
        )
    if _OWN_NAME in job.networks and job.checkpoint is None:
        problems.append(
            Problem(
                where="NETWORK",
                rule=f"{_OWN_NAME} stands for the network of a checkpoint",
                got="no --checkpoint",
                do="name the network, or the checkpoint",
            )
        )
    if problems:
        raise BranchworkError(problems)
    check_onnx_is_installed()


def _networks(job: ExportJob, store: RunStore) -> list[Callable[[], _Weighted]]:
    """Returns, for each network, what builds it with its weights."""
    if job.checkpoint is not None:
        return [partial(_trained, job, store)]
    found = find_networks(list(job.networks), task=job.task, changes=list(job.changes), store=store)
    return [partial(_random, each, job) for each in found]


def _trained(job: ExportJob, store: RunStore) -> _Weighted:
    assert job.checkpoint is not None
    name = job.networks[0]
    task = job.task or task_of(job.checkpoint) or DEFAULT_TASK
    asked = None
    if name != _OWN_NAME:
        (asked,) = find_networks([name], task=task, changes=list(job.changes), store=store)
    trained = load_trained(job.checkpoint, asked, len(find_task(task).outputs))
    size = input_of(job.input or (str(trained.input) if trained.input else None), task)
    return _Weighted(
        name=trained.name,
        spec=trained.spec,
        task=task,
        module=trained.module.eval(),
        size=_fitting(trained.name, trained.spec, size),
        weights=f"weights of {job.checkpoint.name}",
    )


def _random(network: NamedNetwork, job: ExportJob) -> _Weighted:
    size = _fitting(network.name, network.spec, input_of(job.input, network.task))
    module = network.spec.build()
    initialise(module, "kaiming", job.seed)
    _set_statistics(module, size, job.seed)
    return _Weighted(
        name=network.name,
        spec=network.spec,
        task=network.task,
        module=module.eval(),
        size=size,
        weights=f"random weights, seed {job.seed}",
    )


def _set_statistics(module: nn.Module, size: ImageSize, seed: int) -> None:
    """Gives the batch norms of a new network the statistics of a few random images.

    Without them its outputs vanish or explode, and a comparison of outputs shows nothing.
    """
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(_NUM_IMAGES, 3, size.height, size.width, generator=generator)
    with torch.no_grad():
        module.train()(images)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
        assert norm.running_var is not None
        # Channels that hardly vary in so few images would blow rounding errors up.
        norm.running_var.lerp_(norm.running_var.mean(), 0.5)


def _fitting(name: str, spec: NetworkSpec, size: ImageSize) -> ImageSize:
    check_image_size(f"{name}: --input", size, spec.coarsest_stride)
    return size


def _write_onnx(network: _Weighted, job: ExportJob) -> dict[str, Any]:
    path = _path(network, job)
    try:
        model = to_onnx(
            _rewritten(network, job) if job.rewrite else network.module,
            network.size,
            batch=job.batch,
            blocked=job.blocked,
            name=network.name,
            spec=network.spec,
            notes={
                "task": network.task,
                "weights": network.weights,
                "rewritten": str(job.rewrite).lower(),
                "blocked": str(job.blocked).lower(),
            },
        )
    except BranchworkError as error:
        raise BranchworkError([each.under(network.name) for each in error.problems]) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(model.SerializeToString())
        off = check_outputs(temporary, network.module, network.size, batch=job.batch)
        if off is not None and not off.is_close:
            raise BranchworkError(
                Problem(
                    where=network.name,
                    rule=f"a file puts out what the network does, in {off.runtime}",
                    got=f"outputs that are off by {off.max_share:.1e} of the largest",
                    do="nothing was written; report it with the network's spec",
                )
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "network": network.name,
        "spec_id": spec_id(network.spec),
        "task": network.task,
        "input": str(network.size),
        "batch": job.batch,
        "rewritten": job.rewrite,
        "blocked": job.blocked,
        "weights": network.weights,
        "to": job.to,
        "file": str(path),
        "size_bytes": path.stat().st_size,
        "num_nodes": len(model.graph.node),
        "opset": OPSET,
        "checked_in": off.runtime if off else None,
        "max_abs_diff": off.max_abs_diff if off else None,
        "max_share": off.max_share if off else None,
    }


def _rewritten(network: _Weighted, job: ExportJob) -> nn.Module:
    from networks.deploy.rewriting import rewrite

    return rewrite(network.module, network.size, batch=job.batch)


def _path(network: _Weighted, job: ExportJob) -> Path:
    """Returns where a file goes: what is not said stands in its name."""
    if job.out is not None and _is_file(job.out):
        return job.out
    # A spec file is named by its own name, and changes by what they lead to.
    base, _, changes = network.name.partition(" with ")
    stem = Path(base).stem if base.endswith(".json") else base
    parts = [re.sub(r"[^\w.-]+", "_", stem)]
    parts += [spec_id(network.spec)] * bool(changes)
    parts += [str(network.size)]
    parts += [f"batch{job.batch}"] * (job.batch > 1)
    parts += ["rewritten"] * job.rewrite
    parts += ["blocked"] * (job.rewrite and job.blocked)
    return (job.out or Path()) / f"{'_'.join(parts)}{_SUFFIX}"


def _is_file(out: Path) -> bool:
    return out.suffix.lower() == _SUFFIX and not out.is_dir()


_FORMS: dict[str, Callable[[_Weighted, ExportJob], dict[str, Any]]] = {"onnx": _write_onnx}
"""By what ``--to`` names, what writes it."""
