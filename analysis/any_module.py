"""Profiles of modules that are none of ours: recorded, since nobody wrote their operations down.

What stands here without speaking of modules serves other networks without a spec as well.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from analysis.conventions import OF_PUBLISHED_CODE
from analysis.cost import Cost, Part, count_operations
from blocks import ImageSize, Op, Problem, Recording, SpecError, did_you_mean, record

_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_LONGEST = 300
_MOST_PLACES = 5
_USUAL_STRIDE = 32

OUTERMOST = "(itself)"
"""The part of what stands in no part of a network."""


@dataclass(frozen=True, kw_only=True)
class ModuleProfile:
    """What a network without a spec costs on one image, as far as it could be counted.

    A module of the user's own, or an ONNX file.

    Attributes:
        cost: Its cost; ``params`` are those that it holds, used or not, and there are no numbers
            of published code.
        parts: The same by its children, in order of appearance.
        recording: What was recorded.
        problem: What broke the run off, None if nothing did.
        notes: What a reader of the numbers has to know besides, a line each.
    """

    cost: Cost
    parts: tuple[Part, ...]
    recording: Recording
    problem: Problem | None
    notes: tuple[str, ...] = ()

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
    with _hosting():
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
    recording = _record(module, size)
    runs_at = None
    if recording.failed_at is not None and pad_sides(size) != size:
        padded = pad_sides(size)
        runs_at = padded if _record(module, padded).failed_at is None else None
    children = [_child(op.address) for op in recording.ops]
    held = _params_by_child(module, children)
    return ModuleProfile(
        cost=with_params(count_operations(recording.ops, size), sum(held.values())),
        parts=parts_of(recording.ops, children, held, size),
        recording=recording,
        problem=_problem(module, recording, name, runs_at),
        notes=tuple(
            uncounted_note(
                kind, [op.address or OUTERMOST for op in recording.ops if op.kind == kind]
            )
            for kind in recording.uncounted
        ),
    )


def parts_of(
    ops: Sequence[Op], names: Sequence[str], held: Mapping[str, int], size: ImageSize
) -> tuple[Part, ...]:
    """Counts operations part by part, in order of appearance.

    Args:
        ops: All operations of a network.
        names: The part to which each of them belongs.
        held: The parameters that each part holds, also those that execute nothing.
        size: The image's size.
    """
    groups: dict[str, list[Op]] = {name: [] for name in held}
    for op, name in zip(ops, names, strict=True):
        groups[name].append(op)
    parts = []
    for name, group in groups.items():
        cost = with_params(count_operations(group, size), held[name])
        parts.append(
            Part(name=name, params=cost.params, macs=cost.macs, conventions=cost.conventions)
        )
    return tuple(parts)


def pad_sides(size: ImageSize) -> ImageSize:
    """Returns the next size whose sides most networks can halve as often as they do.

    >>> str(pad_sides(ImageSize(250, 190)))
    '256x192'
    """
    return ImageSize(*(-(-side // _USUAL_STRIDE) * _USUAL_STRIDE for side in _sides(size)))


def uncounted_note(kind: str, places: Sequence[str]) -> str:
    """Says where operations stand that were not counted.

    >>> uncounted_note("_fft_r2c", ["mixer.0", "mixer.1", "mixer.0"])
    '_fft_r2c was not counted (no formula for such calls), in mixer.0, mixer.1'
    """
    different = list(dict.fromkeys(places))
    shown = ", ".join(different[:_MOST_PLACES])
    more = len(different) - _MOST_PLACES
    where = f"{shown} and {more} more" if more > 0 else shown
    return f"{kind} was not counted (no formula for such calls), in {where}"


def _record(module: nn.Module, size: ImageSize) -> Recording:
    floats = (each.dtype for each in module.parameters() if each.is_floating_point())
    image = torch.empty(
        *(1, 3, size.height, size.width), dtype=next(floats, torch.float32), device="meta"
    )
    with _hosting():
        return record(module, [image])


def _sides(size: ImageSize) -> tuple[int, int]:
    return size.height, size.width


def _params_by_child(module: nn.Module, children: Sequence[str]) -> dict[str, int]:
    held = dict.fromkeys(children, 0)
    for name, parameter in module.named_parameters():
        child = _child(name.rpartition(".")[0])
        held[child] = held.get(child, 0) + _num_values(parameter)
    return held


def _num_values(parameter: nn.Parameter) -> int:
    # What a lazy module has not made yet has no size; the run broke off there.
    is_made = not isinstance(parameter, nn.UninitializedParameter)
    return parameter.numel() if is_made else 0


def _child(address: str) -> str:
    return address.partition(".")[0] or OUTERMOST


def with_params(cost: Cost, num_params: int) -> Cost:
    """Returns the cost of a network without a spec: with its own number of parameters.

    Args:
        cost: What its operations cost.
        num_params: The parameters that it holds.
    """
    counted = {k: v for k, v in cost.conventions.items() if k not in OF_PUBLISHED_CODE}
    return replace(cost, params=num_params, conventions=counted | {"params": num_params})


def _problem(
    module: nn.Module, recording: Recording, name: str, runs_at: ImageSize | None
) -> Problem | None:
    if recording.failed_at is None:
        return None
    kind = type(dict(module.named_modules())[recording.failed_at]).__name__
    where = f"{name}, {recording.failed_at}" if recording.failed_at else name
    return Problem(
        where=f"{where} ({kind})",
        rule="a module runs on meta tensors, which have shapes and no values",
        got=recording.reason[:_LONGEST],
        do=f"the {len(recording.ops)} operations before it are counted; "
        + (
            "take out of its forward what depends on values, or profile its parts"
            if runs_at is None
            else f"pad the image to {runs_at}, at which it runs"
        ),
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
def _hosting() -> Iterator[None]:
    """Lets others' code import from the working folder, and print where it disturbs nobody."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        # What was imported may have changed the path itself.
        if folder in sys.path:
            sys.path.remove(folder)
