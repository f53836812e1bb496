"""Our own benchmarks: measured on a quiet machine, as ratios in one run, written as tables."""
