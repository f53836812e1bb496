"""What ``make test-specs`` does on 10,000 networks, on some; and that it would find a mistake."""

from __future__ import annotations

import dataclasses

import pytest
import random_specs
from hypothesis import settings

from analysis import measure_cost


def test_random_networks_are_counted_alike_in_all_ways():
    told = []
    kinds = random_specs.check_many(settings.default.max_examples, 1, told.append)
    assert told == list(range(1, settings.default.max_examples + 1))
    assert len(kinds) > 10


def test_a_count_that_is_off_by_one_is_found(monkeypatch):
    def wrong(spec, size):
        cost = measure_cost(spec, size)
        return dataclasses.replace(
            cost, conventions=cost.conventions | {"thop": cost.conventions["thop"] + 1}
        )

    monkeypatch.setattr(random_specs, "measure_cost", wrong)
    with pytest.raises(AssertionError):
        random_specs.check_many(3, 1, lambda _: None)
