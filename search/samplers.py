"""The samplers that a study can name, all of them Optuna's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import optuna

_NUM_STARTUP = 10
_POPULATION = 20


@dataclass(frozen=True)
class Sampler:
    """A sampler.

    Attributes:
        make: Makes it from a seed.
        num_random: How many networks it draws at random before it learns from them; None if it
            never learns.
    """

    make: Callable[[int], optuna.samplers.BaseSampler]
    num_random: int | None


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=_NUM_STARTUP)


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=_POPULATION)


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Sampler] = {
    "nsga2": Sampler(_nsga2, _POPULATION),
    "random": Sampler(_random, None),
    "tpe": Sampler(_tpe, _NUM_STARTUP),
}
"""Samplers by name."""
