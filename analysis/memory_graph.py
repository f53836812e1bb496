"""Operations in any order that computes the same, and what each order holds in memory.

Sets of operations are whole numbers, one bit an operation: networks have a thousand and more of
them, and the search for an order asks for unions and inclusions only. A set that holds with every
operation all that comes before it is called *closed*; orders are chains of closed sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.memory_recording import Execution


@dataclass(frozen=True, kw_only=True)
class OrderGraph:
    """What may run when, and what storages it makes and lets go.

    A storage lives from the operation that makes it to the last that touches it, views of it
    included. Writing in place comes after all that read what was there, and before all that read
    what is there then.

    Attributes:
        before: For each operation, the set of those that have to come first; not all of them,
            but enough that all follow.
        after: For each operation, those in whose ``before`` it is.
        made_bytes: For each operation, the bytes of the storages that it makes.
        touched: For each operation, the storages that it touches and that are let go some time.
        users: For each storage, the set of operations that touch it.
        maker: For each storage, the operation that makes it; None for what is there before.
        storage_bytes: The size of every storage.
        kept: Storages that are never let go.
        held_bytes: Bytes that are there before the first operation and stay.
    """

    before: tuple[int, ...]
    after: tuple[tuple[int, ...], ...]
    made_bytes: tuple[int, ...]
    touched: tuple[tuple[int, ...], ...]
    users: tuple[int, ...]
    maker: tuple[int | None, ...]
    storage_bytes: tuple[int, ...]
    kept: frozenset[int]
    held_bytes: int

    def freed_bytes(self, operation: int, done: int) -> int:
        """Returns the bytes that are let go after an operation.

        Args:
            operation: The operation.
            done: The closed set of what has run then, the operation included.
        """
        return sum(
            self.storage_bytes[storage]
            for storage in self.touched[operation]
            if not self.users[storage] & ~done
        )

    def live_bytes(self, order: Sequence[int]) -> tuple[int, ...]:
        """Returns what lives while each operation runs, in an order that the graph allows."""
        done, live, found = 0, self.held_bytes, []
        for operation in order:
            assert not self.before[operation] & ~done
            done |= 1 << operation
            live += self.made_bytes[operation]
            found.append(live)
            live -= self.freed_bytes(operation, done)
        return tuple(found)


def order_graph(execution: Execution) -> OrderGraph:
    """Returns the graph of what was executed.

    Args:
        execution: What was executed, also in part.
    """
    sizes, kept = execution.storage_bytes, execution.kept
    num_storages, num_steps = len(sizes), len(execution.steps)
    users, before = [0] * num_storages, [0] * num_steps
    maker: list[int | None] = [None] * num_storages
    last_written = [0] * num_storages
    read_since = [0] * num_storages
    for index, step in enumerate(execution.steps):
        bit = 1 << index
        for storage in step.reads | step.writes | step.makes:
            users[storage] |= bit
            before[index] |= last_written[storage]
            if storage in step.writes or storage in step.makes:
                before[index] |= read_since[storage]
                last_written[storage], read_since[storage] = bit, 0
            else:
                read_since[storage] |= bit
        for storage in step.makes:
            maker[storage] = index
    after: list[list[int]] = [[] for _ in range(num_steps)]
    for index, earlier in enumerate(before):
        for operation in members(earlier):
            after[operation].append(index)
    there_before = [sizes[storage] for storage, made_by in enumerate(maker) if made_by is None]
    return OrderGraph(
        before=tuple(before),
        after=tuple(map(tuple, after)),
        made_bytes=tuple(sum(sizes[each] for each in step.makes) for step in execution.steps),
        touched=tuple(
            tuple(
                storage
                for storage in step.reads | step.writes | step.makes
                if maker[storage] is not None and storage not in kept and sizes[storage]
            )
            for step in execution.steps
        ),
        users=tuple(users),
        maker=tuple(maker),
        storage_bytes=sizes,
        kept=kept,
        held_bytes=sum(there_before),
    )


def members(operations: int) -> Iterator[int]:
    """Yields what is in a set, in rising order.

    >>> list(members(0b10011))
    [0, 1, 4]
    """
    while operations:
        lowest = operations & -operations
        yield lowest.bit_length() - 1
        operations ^= lowest
