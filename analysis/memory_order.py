"""The order of operations that needs least memory, found exactly.

What lives after a set of operations does not depend on the order in which they ran, so an order is
a way through closed sets, and the best has the lowest highest point. Whether a way stays below a
limit is searched for depth first, visiting a set once; the limit is halved in between what is
known to be needed and what is known to do.

What lives is submodular in the set: a closed set A and a closed set B hold together at least what
their union and their intersection hold. It follows that from a set S, the smallest set beyond it
that holds no more and is reached below the limit may be gone to at once, whatever a best order
does: that order, with the steps to the smallest set moved to its front, holds no more at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.memory_bound import least_peak_bytes
from analysis.memory_graph import OrderGraph

_MOST_STEPS = 80_000
_MOST_STEPS_ASIDE = 1_000
_UNLIMITED = 1 << 62

_Trail = tuple["_Trail", int] | None
"""The operations that led to a set, the last one first."""


@dataclass(frozen=True, kw_only=True)
class BestOrder:
    """An order that needs little memory.

    Attributes:
        order: The operations.
        peak_bytes: The most that lives at once.
        lower_bound_bytes: With less than this no order does; the peak itself if it is the least.
    """

    order: tuple[int, ...]
    peak_bytes: int
    lower_bound_bytes: int

    @property
    def is_proven(self) -> bool:
        """Whether no order does with less."""
        return self.peak_bytes == self.lower_bound_bytes


def find_best_order(graph: OrderGraph, most_steps: int = _MOST_STEPS) -> BestOrder:
    """Returns the order of least peak, or the best known one if the search becomes too long.

    Where the order in which operations are numbered is as good as any, it is the one.

    Args:
        graph: What may run when.
        most_steps: How many steps are taken in all; each limit may use half of what is left.
    """
    order = tuple(range(len(graph.before)))
    peak = max(graph.live_bytes(order), default=graph.held_bytes)
    needed = least_peak_bytes(graph, order)
    # Limits below this one are decided, or were given up.
    lowest = needed
    while lowest < peak and most_steps > 0:
        limit = (lowest + peak - 1) // 2
        search = _Search(graph, limit, (most_steps + 1) // 2)
        found = search.run()
        most_steps -= search.num_steps
        if found is not None:
            order, peak = found, max(graph.live_bytes(found))
        else:
            if search.is_exhausted and needed == lowest:
                needed = min(search.next_limit, peak)
            lowest = max(limit + 1, needed)
    return BestOrder(order=order, peak_bytes=peak, lower_bound_bytes=needed)


@dataclass(frozen=True)
class _Set:
    """A closed set of operations that have run.

    Attributes:
        done: The set.
        live: What it holds.
        ready: The operations that may run next.
        trail: How it was reached.
    """

    done: int
    live: int
    ready: tuple[int, ...]
    trail: _Trail


class _Search:
    """Looks for an order below a limit.

    Attributes:
        next_limit: The least need of what did not run for being above the limit.
        num_steps: How many steps were taken.
        is_exhausted: Whether everything below the limit was looked at.
    """

    def __init__(self, graph: OrderGraph, limit: int, most_steps: int) -> None:
        self.next_limit = _UNLIMITED
        self.num_steps = 0
        self.is_exhausted = False
        self._graph = graph
        self._limit = limit
        self._most_steps = most_steps

    def run(self) -> tuple[int, ...] | None:
        """Returns an order whose peak is not above the limit, None if none was found."""
        graph = self._graph
        ready = tuple(index for index, earlier in enumerate(graph.before) if not earlier)
        waiting = [_Set(0, graph.held_bytes, ready, None)]
        seen: set[int] = set()
        while waiting and self.num_steps < self._most_steps:
            reached = self._settle(waiting.pop())
            if reached.done in seen:
                continue
            if not reached.ready:
                return _untangle(reached.trail)
            seen.add(reached.done)
            waiting += reversed([self._run(reached, each) for each in self._allowed(reached)])
        self.is_exhausted = not waiting
        return None

    def _run(self, reached: _Set, operation: int) -> _Set:
        graph = self._graph
        self.num_steps += 1
        done = reached.done | 1 << operation
        freed = graph.freed_bytes(operation, done)
        others = tuple(each for each in reached.ready if each != operation)
        enabled = tuple(each for each in graph.after[operation] if not graph.before[each] & ~done)
        live = reached.live + graph.made_bytes[operation] - freed
        return _Set(done, live, others + enabled, (reached.trail, operation))

    def _allowed(self, reached: _Set) -> list[int]:
        """Returns the operations that may run next without going above the limit."""
        allowed = []
        for operation in reached.ready:
            need = reached.live + self._graph.made_bytes[operation]
            if need <= self._limit:
                allowed.append(operation)
            else:
                self.next_limit = min(self.next_limit, need)
        return allowed

    def _settle(self, reached: _Set) -> _Set:
        """Goes to smallest sets that hold no more, as often as one is found."""
        while (lower := self._smallest_as_low(reached)) is not None:
            reached = lower
        return reached

    def _smallest_as_low(self, reached: _Set) -> _Set | None:
        """Returns the smallest set beyond this one that holds no more.

        Sets are looked through by size. None where there is none below the limit, or none was
        found soon: that costs time later on, but loses nothing.
        """
        layer, num_steps = [reached], 0
        while layer and num_steps <= _MOST_STEPS_ASIDE:
            following: dict[int, _Set] = {}
            for each in layer:
                for operation in self._allowed(each):
                    done = each.done | 1 << operation
                    if done in following:
                        continue
                    num_steps += 1
                    following[done] = self._run(each, operation)
                    if following[done].live <= reached.live:
                        return following[done]
            layer = list(following.values())
        return None


def _untangle(trail: _Trail) -> tuple[int, ...]:
    order = []
    while trail is not None:
        trail, operation = trail
        order.append(operation)
    return tuple(reversed(order))
