"""Does once what was done to several slices of the same tensors, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import fx

from networks.deploy.building import (
    Builder,
    Rebuilding,
    address_of,
    arguments_of,
    aten,
    shape_of,
)
from networks.deploy.cuts import read_slice
from networks.deploy.sorting import sort_nodes

_TARGETS = frozenset({aten.add.Tensor, aten.mul.Tensor, aten.upsample_nearest2d.default})


class _Run(NamedTuple):
    """What is done to neighbouring channels.

    Attributes:
        ranges: For each tensor that is read, the first channel and the one behind the last.
        node: The node that does it.
    """

    ranges: tuple[tuple[int, int], ...]
    node: fx.Node


def merge_slices(module: fx.GraphModule) -> fx.GraphModule:
    """Writes a graph anew in which slices are multiplied, added up and upsampled together.

    Products, sums and nearest upsamplings of slices of the same tensors become slices of one, if
    all channels of one of the tensors are in it, each once. So the weights of several branches,
    which were computed together, are multiplied with their gates together, and what a coarse
    branch adds to finer ones is upsampled together as far as it goes the same way.

    Args:
        module: A graph; it is left as it is.
    """
    build = Rebuilding(module).copied()
    while (group := next(_groups(build), None)) is not None:
        _merge(build, *group)
    sort_nodes(build.graph)
    return build.module()


def _groups(build: Builder) -> Iterator[tuple[list[fx.Node], list[_Run]]]:
    """Yields tensors, and what is done to slices of them that can be done once."""
    found: dict[Any, tuple[list[fx.Node], list[_Run]]] = {}
    for node in build.graph.nodes:
        if node.target in _TARGETS:
            read = _read(node)
            if read is not None:
                sources, run = read
                rest = str((node.args[len(sources) :], node.kwargs))
                found.setdefault((node.target, *sources, rest), (sources, []))[1].append(run)
    for sources, runs in found.values():
        runs.sort(key=lambda run: run.ranges)
        if len(runs) > 1 and _is_whole(sources, runs):
            yield sources, runs


def _read(node: fx.Node) -> tuple[list[fx.Node], _Run] | None:
    """Returns the tensors of whose slices a node makes something, if it reads nothing else."""
    first, second, *_ = arguments_of(node)
    is_join = node.target is not aten.upsample_nearest2d.default
    parts = [
        read_slice(each) if isinstance(each, fx.Node) else None
        for each in ([first, second] if is_join else [first])
    ]
    found = [part for part in parts if part is not None]
    sources = [part.source for part in found]
    counts = {part.end - part.start for part in found}
    if len(found) < len(parts) or len({*sources}) < len(sources):
        return None
    if counts != {shape_of(node)[1]}:
        return None
    return sources, _Run(tuple((part.start, part.end) for part in found), node)


def _is_whole(sources: Sequence[fx.Node], runs: Sequence[_Run]) -> bool:
    """Tells whether runs in order are neighbours, and all channels of one of the tensors."""
    counts = [shape_of(source)[1] for source in sources]
    is_gapless = all(
        end == start
        for before, after in pairwise(runs)
        for (_, end), (start, _) in zip(before.ranges, after.ranges, strict=True)
    )
    covered = _covered(runs)
    return is_gapless and any(
        each == (0, count) for each, count in zip(covered, counts, strict=True)
    )


def _covered(runs: Sequence[_Run]) -> list[tuple[int, int]]:
    return [
        (start, end) for (start, _), (_, end) in zip(runs[0].ranges, runs[-1].ranges, strict=True)
    ]


def _merge(build: Builder, sources: Sequence[fx.Node], runs: Sequence[_Run]) -> None:
    first = runs[0].node
    # Anywhere: the nodes are sorted at the end.
    with build.graph.inserting_before(first):
        wholes = [
            source
            if (start, end) == (0, shape_of(source)[1])
            else build.call(aten.slice.Tensor, source, 1, start, end, address=address_of(first))
            for source, (start, end) in zip(sources, _covered(runs), strict=True)
        ]
        made = build.call(
            first.target,  # type: ignore[arg-type]
            *wholes,
            *first.args[len(wholes) :],
            address=address_of(first),
            named=first.kwargs,
        )
        parts, at = [], 0
        for run in runs:
            end = at + shape_of(run.node)[1]
            parts.append(
                build.call(aten.slice.Tensor, made, 1, at, end, address=address_of(run.node))
            )
            at = end
    for run, part in zip(runs, parts, strict=True):
        run.node.replace_all_uses_with(part)
        build.graph.erase_node(run.node)
