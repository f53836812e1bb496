"""``make test-specs``: random networks, counted in three ways that must agree to the last unit.

Draws networks over all slots, kinds, numbers of branches and input sizes, each out of a random
space, until so many different ones were checked. For each of them the closed form is what an
execution on tensors without values shows, operation by operation; ``measure_cost`` gives what
counting that execution gives, by every convention; and ``cost_many`` gives the same for the
space's row.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable

import torch
from drawn_spaces import spaces
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from analysis import CONVENTIONS, cost_many, measure_cost
from analysis.conventions import shares
from analysis.cost import DROPS_UNREAD
from blocks import SLOTS, ImageSize, SpecError, record
from blocks.testing import first_difference
from networks import NetworkSpec, SpecSpace, spec_id

_EVERY = 50


def check(space: SpecSpace, row: tuple[int, ...], size: ImageSize) -> None:
    """Counts a network of a space in all three ways."""
    spec = space.spec(row)
    with torch.device("meta"):
        recording = record(spec.build(), [torch.empty(1, 3, size.height, size.width)])
    assert recording.failed_at is None, recording.reason
    closed, executed = spec.operations(size), recording.ops
    assert closed == executed, first_difference(closed, executed)
    expected = counted(closed, recording.are_read)
    assert measure_cost(spec, size).conventions == expected
    many = cost_many(space, [row], size=size)
    assert {name: int(counts[0]) for name, counts in many.items()} == expected


def counted(ops, are_read) -> dict[str, int]:
    """Counts operations; what nobody reads, one convention does not see.

    The closed form's operations equal the executed ones, and know besides what the published code
    executes, which two conventions ask for.
    """
    counts = {name: count(ops) for name, count in CONVENTIONS.items()}
    seen = zip(shares(DROPS_UNREAD, ops), are_read, strict=True)
    return counts | {DROPS_UNREAD: sum(share for share, is_read in seen if is_read)}


def kinds_of(spec: NetworkSpec) -> set[str]:
    """The kinds of a network, of blocks inside blocks as well."""
    names = {entry.cls: f"{slot.value} {entry.name}" for slot in SLOTS for entry in SLOTS[slot]}
    blocks = {group.block for stage in spec.stages for unit in stage.units for group in unit.body}
    inner = [block.block for block in blocks if hasattr(block, "block")]
    while inner:
        blocks.update(inner)
        inner = [block.block for block in inner if hasattr(block, "block")]
    layers = [spec.stem, *(stage.transition for stage in spec.stages), spec.aggregator, spec.head]
    layers += [unit.fusion for stage in spec.stages for unit in stage.units]
    return {names[type(layer)] for layer in (*layers, *blocks)}


@st.composite
def networks(draw: st.DrawFn) -> tuple[SpecSpace, tuple[int, ...], ImageSize]:
    """A network out of a random space, with an image size that suits it."""
    space = draw(spaces(max_free=2, max_choices=2))
    row = tuple(draw(st.integers(0, len(d.choices) - 1)) for d in space.dimensions)
    try:
        stride = space.spec(row).coarsest_stride
    except SpecError:
        assume(False)  # noqa: FBT003 - Hypothesis' own
    return space, row, ImageSize(*(stride * draw(st.integers(1, 4)) for _ in range(2)))


def check_many(count: int, number: int, report: Callable[[int], None]) -> set[str]:
    """Checks so many different random networks.

    Args:
        count: How many.
        number: The seed.
        report: Is told how many were checked.

    Returns:
        The kinds that they have.
    """
    done: set[str] = set()
    kinds: set[str] = set()

    @given(drawn=networks())
    def run(drawn: tuple[SpecSpace, tuple[int, ...], ImageSize]) -> None:
        space, row, size = drawn
        spec = space.spec(row)
        assume(spec_id(spec) not in done)
        check(space, row, size)
        done.add(spec_id(spec))
        kinds.update(kinds_of(spec))
        report(len(done))

    # A round ends early where too many draws in a row repeat others or do not fit.
    turns = itertools.count()
    while len(done) < count:
        once = settings(
            max_examples=count - len(done),
            database=None,
            deadline=None,
            derandomize=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        seed(number * 1000 + next(turns))(once(run))()
    return kinds


def main() -> int:
    """Checks as many as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()

    def report(num_done: int) -> None:
        if num_done % _EVERY == 0 or num_done == options.count:
            elapsed_s = time.monotonic() - started
            left_s = elapsed_s / num_done * (options.count - num_done)
            text = f"{num_done:,} of {options.count:,} networks agree, {left_s:.0f} s left"
            sys.stderr.write(f"\r{text:60}")
            sys.stderr.flush()

    kinds = check_many(options.count, options.seed, report)
    sys.stderr.write("\n")
    every = {f"{slot.value} {entry.name}" for slot in SLOTS for entry in SLOTS[slot]}
    missing = sorted(every - kinds)
    sys.stdout.write(
        f"{options.count:,} different networks, seed {options.seed}: the closed form, the "
        f"execution and cost_many agree in {len(CONVENTIONS)} conventions to the last unit "
        f"({time.monotonic() - started:.0f} s).\n"
        f"{len(kinds)} kinds were among them; not: {', '.join(missing) or 'none'}.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
