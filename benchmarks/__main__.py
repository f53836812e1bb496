"""``python -m benchmarks [NAME...]``: runs benchmarks and writes their tables.

Close other programs first. Without names, all but the long ones run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    counting,
    deployment,
    evaluation,
    latency,
    learning,
    predictor,
    profiling,
    training,
    training_speed,
)
from benchmarks.tables import Table, write_table

QUICK: dict[str, Callable[[], Table]] = {
    "counting": counting.run,
    "counting_one": counting.run_single,
    "deployment": deployment.run,
    "evaluation": evaluation.run,
    "latency": latency.run,
    "profiling": profiling.run,
    "training": training.run,
    "training_data": training_speed.run_data,
    "training_speed": training_speed.run,
}
LONG: dict[str, Callable[[], Table]] = {"learning": learning.run, "predictor": predictor.run}

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Runs what was asked for."""
    every = {**QUICK, **LONG}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(every))
    names: list[str] = parser.parse_args().names or list(QUICK)
    unknown = [name for name in names if name not in every]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; choose among {', '.join(every)}")
    for name in names:
        print(f"running {name}", file=sys.stderr)
        path = write_table(RESULTS / f"{name}.md", every[name](), f"python -m benchmarks {name}")
        print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
