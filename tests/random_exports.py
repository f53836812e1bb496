"""Random networks, exported and run in every runtime that is installed.

``PYTHONPATH=tests .venv/bin/python -m random_exports --count 100 --seed 1`` draws networks over
all slots, kinds, numbers of branches and image sizes; ``--rewrite`` rewrites them first. What
cannot be exported or comes out wrong is listed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

import torch
from exported import RUNTIMES, check_export, randomised
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from random_specs import kinds_of, networks

from blocks import SLOTS, BranchworkError
from networks import canonical_json, spec_id

_LARGEST_AREA = 128 * 128
"""Larger images show nothing more, and take long."""


def check_many(
    count: int, number: int, *, is_rewritten: bool = False
) -> tuple[set[str], dict[str, str]]:
    """Exports so many different random networks.

    Args:
        count: How many.
        number: The seed.
        is_rewritten: Whether they are rewritten first.

    Returns:
        The kinds that they have, and what went wrong by the network's canonical JSON.
    """
    done: set[str] = set()
    kinds: set[str] = set()
    failures: dict[str, str] = {}

    @given(drawn=networks())
    def run(drawn) -> None:
        space, row, size = drawn
        spec = space.spec(row)
        assume(spec_id(spec) not in done and size.height * size.width <= _LARGEST_AREA)
        done.add(spec_id(spec))
        kinds.update(kinds_of(spec))
        torch.manual_seed(len(done))
        try:
            module = randomised(spec.build(), size)
            check_export(module, size, batch=1 + len(done) % 2, is_rewritten=is_rewritten)
        except (AssertionError, BranchworkError, RuntimeError) as error:
            failures[canonical_json(spec)] = f"{size}: {type(error).__name__}: {error}"

    turns = itertools.count()
    while len(done) < count:
        once = settings(
            max_examples=count - len(done),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(number * 1000 + next(turns))(once(run))()
    return kinds, failures


def main() -> int:
    """Exports as many as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rewrite", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    kinds, failures = check_many(options.count, options.seed, is_rewritten=options.rewrite)
    every = {f"{slot.value} {entry.name}" for slot in SLOTS for entry in SLOTS[slot]}
    for spec, failure in failures.items():
        sys.stdout.write(f"{failure}\n    {spec}\n")
    sys.stdout.write(
        f"{options.count - len(failures):,} of {options.count:,} different networks, seed "
        f"{options.seed}, run in {' and '.join(RUNTIMES)} as in PyTorch "
        f"({time.monotonic() - started:.0f} s).\n"
        f"{len(kinds)} kinds were among them; not: {', '.join(sorted(every - kinds)) or 'none'}.\n"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
