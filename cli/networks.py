"""What NETWORK on the command line stands for: a preset, a spec file or a known spec_id."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from analysis.naming import RULE, FoundNetwork, find_network
from analysis.store import RunStore
from blocks import ImageSize, Problem, SpecError, StudyError, did_you_mean
from cli.options import DEFAULT_TASK
from networks import PRESETS, NetworkSpec, SpecSpace, spec_to_dict
from tasks import find_task


@dataclass(frozen=True, kw_only=True)
class NamedNetwork:
    """A network with what the user called it and the task that it is looked at for.

    Attributes:
        name: As the user wrote it.
        spec: The network, with the task's number of outputs.
        task: The task's name.
    """

    name: str
    spec: NetworkSpec
    task: str


def find_networks(
    names: list[str], *, task: str | None, changes: list[str] | None, store: RunStore
) -> list[NamedNetwork]:
    """Returns the networks that names stand for, with changes applied.

    Args:
        names: Presets, spec files or spec_ids.
        task: The task that sets the outputs; None takes that of a preset or of a spec_id's
            record, and ``coco_keypoints`` for a file.
        changes: ``ADDRESS=VALUE`` texts.
        store: Where spec_ids are looked up.

    Raises:
        SpecError: With everything that is wrong.
    """
    if task is not None:
        find_task(task)
    changed = _parse_changes(changes or [])
    problems: list[Problem] = []
    found: list[NamedNetwork] = []
    for name in names:
        try:
            found.append(_find(name, task, changed, store))
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return found


def input_of(text: str | None, task: str) -> ImageSize:
    """Returns the image size that the user wrote, or the task's usual one.

    Raises:
        BranchworkError: If the text is no size.
    """
    return ImageSize.parse(text) if text else find_task(task).default_input


def _find(name: str, task: str | None, changes: dict[str, Any], store: RunStore) -> NamedNetwork:
    found = _base(name, store)
    task = task or found.task or DEFAULT_TASK
    spec = found.spec.with_outputs(len(find_task(task).outputs))
    if changes:
        name = f"{name} with {', '.join(f'{key}={_brief(v)}' for key, v in changes.items())}"
        spec = _changed(spec, changes)
    return NamedNetwork(name=name, spec=spec, task=task)


def _changed(spec: NetworkSpec, changes: dict[str, Any]) -> NetworkSpec:
    try:
        space = SpecSpace.resolve(spec, {key: [value] for key, value in changes.items()})
        changed = space.spec((0,) * len(space.dimensions))
    except StudyError as error:
        # The same rules as in a study file, said of what the user wrote here.
        raise SpecError(
            [
                dataclasses.replace(problem, where=f"--set {problem.where.removeprefix('free.')}")
                for problem in error.problems
            ]
        ) from None
    # A space leaves out what some of its networks do not have; one network must have it all.
    data = spec_to_dict(changed)
    lost = [d.address for d in space.dimensions if not _has(data, d.address.split("."))]
    if lost:
        raise SpecError(
            [
                Problem(
                    where=f"--set {address}",
                    rule="the network has the place that is set",
                    got="a network without it",
                    do="leave it out, or set the kind that has this field too",
                )
                for address in lost
            ]
        )
    return changed


def _has(data: Any, path: list[str]) -> bool:  # noqa: ANN401 - plain data
    """Tells whether data have a field that a path of keys and indices leads to."""
    *holders, last = path
    for part in holders:
        if isinstance(data, list):
            if int(part) >= len(data):
                return False
            data = data[int(part)]
        elif part in data:
            data = data[part]
        else:
            return False
    # Shorthands, such as stages.1.block, name no field of a kind.
    return "kind" not in data or last in data


def _base(name: str, store: RunStore) -> FoundNetwork:
    found = find_network(name, store)
    if found is not None:
        return found
    raise SpecError(
        Problem(
            where="NETWORK",
            rule=f"a network is {RULE} in {store.root}",
            got=repr(name),
            do=did_you_mean(name, PRESETS),
        )
    )


def _parse_changes(texts: list[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for text in texts:
        address, equals, value = text.partition("=")
        if not equals or not address or not value:
            raise SpecError(
                Problem(
                    where="--set",
                    rule="a change is ADDRESS=VALUE",
                    got=repr(text),
                    do="write block=ccw, for example",
                )
            )
        changes[address.strip()] = _value(value.strip())
    return changes


def _value(text: str) -> Any:  # noqa: ANN401 - plain data
    """Reads a value as JSON; what is none is a word, such as a kind's name."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _brief(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
