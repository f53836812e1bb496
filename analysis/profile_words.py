"""What reports of profiles say in words, whatever their format."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.profiles import NetworkProfile

_HOW = "Counted from the specs alone, in closed form: no weights, no forward pass."
_RECORDED = "A module that is none of ours is recorded in one pass over tensors without values."


def report_title(profiles: Sequence[NetworkProfile]) -> str:
    """Returns a report's title: the first network, and those that stand against it."""
    first, *others = (profile.marked_name for profile in profiles)
    return f"Profile of {first}" + (f" against {' and '.join(others)}" if others else "")


def how_counted(profiles: Sequence[NetworkProfile]) -> str:
    """Says where the numbers come from."""
    from_specs = _HOW if any(profile.spec is not None for profile in profiles) else ""
    recorded = _RECORDED if any(profile.spec is None for profile in profiles) else ""
    return " ".join(text for text in (from_specs, recorded) if text)


def missing_counts(profiles: Sequence[NetworkProfile]) -> list[str]:
    """Says what is missing from the numbers."""
    found = []
    for profile in profiles:
        if profile.uncounted:
            kinds = ", ".join(f"{kind} ({calls})" for kind, calls in profile.uncounted.items())
            found.append(f"{profile.name}: partial, not counted: {kinds}")
        if profile.stopped_by:
            found.append(f"{profile.name}: partial, broken off: {profile.stopped_by}")
    return found
