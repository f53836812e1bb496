"""Decorators that register the kinds of the slots other than blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from blocks import SLOTS, LayerSpec, Slot

L = TypeVar("L", bound=LayerSpec)


def register_kind(slot: Slot, name: str, *, revision: int = 1) -> Callable[[type[L]], type[L]]:
    """Registers a stem, transition, fusion, aggregator or head.

    Args:
        slot: The slot that it can fill.
        name: What specs call it.
        revision: Raised by one whenever its numerics change.
    """
    file = SLOTS[slot].register(name, revision=revision)

    def decorate(cls: type[L]) -> type[L]:
        file(cls)
        return cls

    return decorate
