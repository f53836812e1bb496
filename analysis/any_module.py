"""Profiles of modules that are none of ours: recorded, since nobody wrote their operations down."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analysis.conventions import CONVENTIONS
from analysis.cost import Cost, Part, count_operations
from blocks import ImageSize, Op, Problem, Recording, SpecError, did_you_mean, record

_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class ModuleProfile:
    """What a module of the user's own costs on one image, as far as it could be counted.

    Attributes:
        cost: Its cost; ``params`` are those that it holds, used or not.
        parts: The same by its children, in order of appearance.
        recording: What was recorded.
        problem: What broke the run off, None if nothing did.
    """

    cost: Cost
    parts: tuple[Part, ...]
    recording: Recording
    problem: Problem | None

    @property
    def is_partial(self) -> bool:
        """Whether something is missing from the numbers."""
        return self.problem is not None or bool(self.recording.uncounted)


def is_import_path(name: str) -> bool:
    """Tells whether a network is named by an import path.

    >>> is_import_path("package.module:Factory"), is_import_path("lite_hrnet_18")
    (True, False)
    """
    return _IMPORT_PATH.fullmatch(name) is not None


def import_network(path: str) -> nn.Module:
    """Imports and makes a module; the working folder is looked through as well.

    Args:
        path: ``package.module:Name``, where the name is a module, or a class or function that
            makes one without arguments.

    Raises:
        SpecError: If that gives no module.
    """
    module_name, _, name = path.partition(":")
    with _working_folder_on_path():
        try:
            found = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code raises anything
            raise _no_module(path, "can be imported", error) from None
        made: Any = found
        for part in name.split("."):
            if not hasattr(made, part):
                raise SpecError(
                    Problem(
                        where=path,
                        rule=f"{part!r} must be a name in {module_name}",
                        got="no such name",
                        do=did_you_mean(part, [each for each in dir(made) if each[0] != "_"]),
                    )
                )
            made = getattr(made, part)
        if not isinstance(made, nn.Module) and callable(made):
            try:
                made = made()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
                raise _no_module(path, "makes a module without arguments", error) from None
    if not isinstance(made, nn.Module):
        raise SpecError(
            Problem(
                where=path,
                rule="an import path names a torch.nn.Module or what makes one",
                got=f"an object of type {type(made).__name__}",
                do="name a class, a function without arguments, or a module",
            )
        )
    return made


def profile_module(module: nn.Module, size: ImageSize, name: str = "module") -> ModuleProfile:
    """Records a module on one image of three channels, in eval mode, on meta tensors.

    Args:
        module: The module; it is left as it is.
        size: The image's size.
        name: What the user calls it, for messages.
    """
    with _working_folder_on_path():
        recording = record(module, [torch.empty(1, 3, size.height, size.width, device="meta")])
    num_params = sum(parameter.numel() for parameter in module.parameters())
    cost = count_operations(recording.ops, size)
    return ModuleProfile(
        cost=_with_params(cost, num_params),
        parts=_by_child(module, recording.ops, size),
        recording=recording,
        problem=_problem(module, recording, name),
    )


def _by_child(module: nn.Module, ops: tuple[Op, ...], size: ImageSize) -> tuple[Part, ...]:
    groups: dict[str, list[Op]] = {_child(op.address): [] for op in ops}
    for op in ops:
        groups[_child(op.address)].append(op)
    params = dict.fromkeys(groups, 0)
    for name, parameter in module.named_parameters():
        child = _child(name.rpartition(".")[0])
        params[child] = params.get(child, 0) + parameter.numel()
    parts = []
    for child, count in params.items():
        cost = _with_params(count_operations(groups.get(child, ()), size), count)
        parts.append(Part(name=child, params=count, macs=cost.macs, conventions=cost.conventions))
    return tuple(parts)


def _child(address: str) -> str:
    return address.partition(".")[0] or "(itself)"


def _with_params(cost: Cost, num_params: int) -> Cost:
    conventions = {name: cost.conventions[name] for name in CONVENTIONS} | {"params": num_params}
    return replace(cost, params=num_params, conventions=conventions)


def _problem(module: nn.Module, recording: Recording, name: str) -> Problem | None:
    if recording.failed_at is None:
        return None
    kind = type(module.get_submodule(recording.failed_at)).__name__
    where = f"{name}, {recording.failed_at}" if recording.failed_at else name
    return Problem(
        where=f"{where} ({kind})",
        rule="a module runs on meta tensors, which have shapes and no values",
        got=recording.reason[:_LONGEST],
        do=f"the {len(recording.ops)} operations before it are counted; take out of its forward "
        "what depends on values, or profile its parts",
    )


def _no_module(path: str, what: str, error: BaseException) -> SpecError:
    return SpecError(
        Problem(
            where=path,
            rule=f"an import path names something that {what}",
            got=f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}",
            do="write package.module:Name, seen from the working folder",
        )
    )


@contextmanager
def _working_folder_on_path() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        # What was imported may have changed the path itself.
        if folder in sys.path:
            sys.path.remove(folder)
