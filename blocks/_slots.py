"""The registry of every slot, and the decorators that fill them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ._layers import BlockSpec, LayerSpec
from ._registry import Registry, Slot

B = TypeVar("B", bound=BlockSpec)

SLOTS: dict[Slot, Registry[LayerSpec]] = {slot: Registry(slot.value) for slot in Slot}
"""All registered kinds, by the slot that they can fill."""


def register_block(
    name: str, *, revision: int = 1, aliases: tuple[str, ...] = ()
) -> Callable[[type[B]], type[B]]:
    """Registers a block: the decorator that a block's one file needs.

    Args:
        name: What specs call it.
        revision: Raised by one whenever its numerics change.
        aliases: Other names under which users may write it.
    """
    file = SLOTS[Slot.BLOCK].register(name, revision=revision, aliases=aliases)

    def decorate(cls: type[B]) -> type[B]:
        file(cls)
        return cls

    return decorate
