"""The samplers that a study can name, all of them Optuna's."""

from __future__ import annotations

from collections.abc import Callable

import optuna


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _nsga2(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "nsga2": _nsga2,
    "random": _random,
    "tpe": _tpe,
}
"""Samplers by name; each is made from a seed."""
