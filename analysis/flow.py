"""Greatest flows through a network of pipes, by Dinic's algorithm, in whole numbers."""

from __future__ import annotations

from collections import deque

_ENDLESS = 1 << 62


class FlowNetwork:
    """Numbered nodes with pipes between them.

    >>> network = FlowNetwork(3)
    >>> network.join(0, 1, 5)
    >>> network.join(1, 2, 3)
    >>> network.push(0, 2)
    3
    """

    def __init__(self, num_nodes: int) -> None:
        # Pipes stand in pairs, there and back: that of pipe 6 is 7.
        self._ends: list[int] = []
        self._room: list[int] = []
        self._pipes: list[list[int]] = [[] for _ in range(num_nodes)]

    def join(self, start: int, end: int, capacity: int | None) -> None:
        """Adds a pipe.

        Args:
            start: Where it begins.
            end: Where it ends.
            capacity: What can flow through it, None if anything can.
        """
        for node, other, room in (
            (start, end, _ENDLESS if capacity is None else capacity),
            (end, start, 0),
        ):
            self._pipes[node].append(len(self._ends))
            self._ends.append(other)
            self._room.append(room)

    def push(self, source: int, sink: int) -> int:
        """Pushes as much from source to sink as goes, and returns how much that is."""
        total = 0
        while (levels := self._levels(source))[sink] >= 0:
            tried = [0] * len(self._pipes)
            while path := self._path(source, sink, levels, tried):
                amount = min(self._room[pipe] for pipe in path)
                for pipe in path:
                    self._room[pipe] -= amount
                    self._room[pipe ^ 1] += amount
                total += amount
        return total

    def _levels(self, source: int) -> list[int]:
        """Returns every node's distance from the source over pipes with room, -1 without any."""
        levels = [-1] * len(self._pipes)
        levels[source] = 0
        waiting = deque([source])
        while waiting:
            node = waiting.popleft()
            for pipe in self._pipes[node]:
                end = self._ends[pipe]
                if self._room[pipe] and levels[end] < 0:
                    levels[end] = levels[node] + 1
                    waiting.append(end)
        return levels

    def _path(self, source: int, sink: int, levels: list[int], tried: list[int]) -> list[int]:
        """Returns the pipes of a way on which every one leads a level up; none if there is none.

        Args:
            source: Where the way begins.
            sink: Where it ends.
            levels: Every node's level.
            tried: How many of a node's pipes lead nowhere any more; counted on here.
        """
        path: list[int] = []
        node = source
        while node != sink:
            pipes = self._pipes[node]
            while tried[node] < len(pipes):
                pipe = pipes[tried[node]]
                end = self._ends[pipe]
                if self._room[pipe] and levels[end] == levels[node] + 1:
                    path.append(pipe)
                    node = end
                    break
                tried[node] += 1
            else:
                if not path:
                    return []
                node = self._ends[path.pop() ^ 1]
                tried[node] += 1
        return path
