"""The option ``--memory`` of ``branchwork profile``: peak activation memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from analysis.memory import Memory
    from analysis.profiles import NetworkProfile
    from blocks import ImageSize

AskMemory = Annotated[
    bool,
    typer.Option(
        "--memory",
        help="Peak activation memory as well: as the module runs, and with the best order of its "
        "operations.",
    ),
]


def check_memory(files: Sequence[str]) -> None:
    """Refuses to follow the memory of what no module runs.

    Args:
        files: The ONNX files that were named.

    Raises:
        BranchworkError: If there are any.
    """
    from blocks import BranchworkError, Problem

    if files:
        raise BranchworkError(
            Problem(
                where="--memory",
                rule="memory is followed through a forward pass of a PyTorch module",
                got=files[0],
                do="name the module itself, package.module:Name",
            )
        )


def with_memory(profile: NetworkProfile) -> NetworkProfile:
    """Returns a profile with its network's memory.

    Args:
        profile: The profile of a spec, or of a module that can be imported by its name.
    """
    return dataclasses.replace(profile, memory=_measure(profile, profile.cost.input))


def show_memory(console: Console, profiles: Sequence[NetworkProfile]) -> None:
    """Prints the memory of all networks as a table, with what the numbers are."""
    from analysis.memory import MEMORY_RULE, MEMORY_TERMS
    from analysis.memory_tables import memory_table
    from cli.output import table

    found = memory_table(profiles)
    if found is None:
        return
    shown = table(*found.head, title=f"\n{found.title}", left=found.num_text)
    for row in found.rows:
        shown.add_row(*row)
    console.print(shown)
    console.print(MEMORY_RULE, markup=False)
    width = max(map(len, MEMORY_TERMS))
    for name, meaning in MEMORY_TERMS.items():
        if any(head.startswith(name) for head in found.head):
            console.print(f"  {name:{width}} {meaning}", markup=False)


def tell_memory_problems(profiles: Sequence[NetworkProfile]) -> None:
    """Says which memory is that of a pass that broke off."""
    from cli.output import say

    for profile in profiles:
        if profile.memory is not None and profile.memory.problem is not None:
            say(f"{profile.name}: memory of a part only: {profile.memory.problem}")


def _measure(profile: NetworkProfile, size: ImageSize) -> Memory:
    from analysis.any_module import import_network
    from analysis.memory import allocator_peak_bytes, module_memory, network_memory

    if profile.spec is not None:
        memory = network_memory(profile.spec, size)
        peak = allocator_peak_bytes(profile.spec.build, size)
    else:
        module = import_network(profile.name)
        memory = module_memory(module, size, name=profile.name)
        peak = None if memory.problem else allocator_peak_bytes(lambda: module, size)
    return dataclasses.replace(memory, allocator_peak_bytes=peak)
