"""Examples in docstrings run, and show what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("blocks", "networks", "tasks", "training", "analysis", "search")

MODULES = [
    name
    for package in PACKAGES
    for name in (
        package,
        *(
            f"{package}.{info.name}"
            for info in pkgutil.iter_modules(importlib.import_module(package).__path__)
        ),
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    counted = {
        package: sum(
            len(test.examples)
            for name in MODULES
            if name.partition(".")[0] == package
            for test in finder.find(importlib.import_module(name))
        )
        for package in ("blocks", "networks")
    }
    assert all(counted.values()), counted
