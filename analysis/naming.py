"""What a network's name stands for, wherever a user writes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.store import RunStore
from networks import PRESETS, NetworkSpec, read_spec, spec_from_dict

_NUM_OUTPUTS = 17

RULE = "a preset, a spec file (.json) or a spec_id"
"""What names a network, for messages."""


@dataclass(frozen=True, kw_only=True)
class FoundNetwork:
    """A network that was found by its name; the caller sets its number of outputs.

    Attributes:
        spec: The network.
        task: The task that it was made for; "" for a file, which does not say.
    """

    spec: NetworkSpec
    task: str


def find_network(
    name: str, store: RunStore, folders: Sequence[Path] = (Path(),)
) -> FoundNetwork | None:
    """Returns the network that a name stands for, None if it stands for none.

    Args:
        name: A preset, the path of a spec file, or a ``spec_id``.
        store: Where a ``spec_id`` is looked up.
        folders: Where a relative path is looked up, in order.

    Raises:
        SpecError: If it is a file that holds no spec.
    """
    if name in PRESETS:
        preset = PRESETS[name]
        return FoundNetwork(spec=preset.make(_NUM_OUTPUTS), task=preset.task)
    paths = [folder / name for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is not None or name.endswith(".json"):
        return FoundNetwork(spec=read_spec(path or paths[-1]), task="")
    record = store.find_spec(name)
    if record is None:
        return None
    return FoundNetwork(spec=spec_from_dict(record.spec), task=record.task)
