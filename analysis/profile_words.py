"""What reports of profiles say in words, whatever their format."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.onnx_file import is_onnx_file
from analysis.profiles import NetworkProfile

_HOW = "Counted from the specs alone, in closed form: no weights, no forward pass."
_RECORDED = "A module that is none of ours is recorded in one pass over tensors without values."
_READ = "An ONNX file is counted node by node; other tools' rules see its nodes as modules."


def report_title(profiles: Sequence[NetworkProfile]) -> str:
    """Returns a report's title: the first network, and those that stand against it."""
    first, *others = (profile.marked_name for profile in profiles)
    return f"Profile of {first}" + (f" against {' and '.join(others)}" if others else "")


def how_counted(profiles: Sequence[NetworkProfile]) -> str:
    """Says where the numbers come from."""
    from_specs = _HOW if any(profile.spec is not None for profile in profiles) else ""
    others = [is_onnx_file(profile.name) for profile in profiles if profile.spec is None]
    recorded = "" if all(others) else _RECORDED
    read = _READ if any(others) else ""
    return " ".join(text for text in (from_specs, recorded, read) if text)


def missing_counts(profiles: Sequence[NetworkProfile]) -> list[str]:
    """Says what is missing from the numbers."""
    found = []
    for profile in profiles:
        if profile.uncounted:
            found.append(uncounted_text(profile))
        if profile.stopped_by:
            found.append(f"{profile.name}: partial, broken off: {profile.stopped_by}")
        found += [f"{profile.name}: {note}" for note in profile.notes]
    return found


def uncounted_text(profile: NetworkProfile) -> str:
    """Says which operations of a profile could not be counted."""
    kinds = ", ".join(f"{kind} ({calls})" for kind, calls in profile.uncounted.items())
    return f"{profile.name}: partial, not counted: {kinds}"
