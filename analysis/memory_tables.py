"""Peak activation memory in plain text: one row a network, with what its numbers say."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.memory import MEMORY_RULE, MEMORY_TERMS, Memory
from analysis.profile_tables import TextTable
from analysis.profiles import NetworkProfile

_TITLE = "Peak activation memory"


def memory_table(profiles: Sequence[NetworkProfile]) -> TextTable | None:
    """Returns one row a network whose memory was asked for, None if none was."""
    known = [(each.label, each.memory) for each in profiles if each.memory is not None]
    if not known:
        return None
    has_allocator = any(memory.allocator_peak_bytes is not None for _, memory in known)
    names = [name for name in MEMORY_TERMS if name != "allocator" or has_allocator]
    terms = "; ".join(f"{name}: {MEMORY_TERMS[name]}" for name in names)
    return TextTable(
        title=_TITLE,
        note=f"{MEMORY_RULE} {terms}.",
        head=(
            *("network", "conditions", "eager peak at", "best order is"),
            *(f"{name}, bytes" for name in names),
        ),
        rows=tuple(
            (
                *(label, memory.conditions, _peak_place(memory)),
                "proven" if memory.best_order_is_proven else "best found",
                *_numbers(memory)[: len(names)],
            )
            for label, memory in known
        ),
        num_text=4,
        long_columns=(1, 2),
    )


def _numbers(memory: Memory) -> tuple[str, ...]:
    """Returns the numbers in the order of ``MEMORY_TERMS``."""
    numbers = (
        memory.eager.peak_bytes,
        memory.last_use.peak_bytes,
        memory.best_order.peak_bytes,
        memory.lower_bound_bytes,
        memory.allocator_peak_bytes,
    )
    return tuple("-" if number is None else f"{number:,}" for number in numbers)


def _peak_place(memory: Memory) -> str:
    step = memory.eager.peak_step
    return "-" if step is None else f"{step.address or '(itself)'} ({step.kind})"
