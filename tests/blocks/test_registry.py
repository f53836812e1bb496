"""A registry: a name stands for one class."""

from __future__ import annotations

import pytest

from blocks import Registry, Slot, SpecError


class One:
    """First line.

    More.
    """


class Two:
    pass


@pytest.fixture
def registry() -> Registry:
    registry = Registry("block")
    registry.register("one", revision=3, aliases=("uno", "eins"))(One)
    return registry


def test_a_kind_is_found_by_its_name_and_its_aliases(registry):
    entry = registry.get("one")
    assert (entry.name, entry.cls, entry.revision) == ("one", One, 3)
    assert registry.get("uno") is registry.get("eins") is entry
    assert "one" in registry
    assert "uno" in registry
    assert "two" not in registry
    assert registry.entry_of(One) is entry
    assert entry.summary == "First line."


def test_kinds_come_in_order_and_aliases_are_not_among_them(registry):
    registry.register("a")(Two)
    assert [entry.name for entry in registry] == ["a", "one"]
    assert len(registry) == 2


def test_a_class_without_documentation_has_no_summary(registry):
    registry.register("two")(Two)
    assert registry.get("two").summary == ""


@pytest.mark.parametrize(
    ("name", "aliases"),
    [("one", ()), ("uno", ()), ("two", ("one",)), ("two", ("eins",))],
)
def test_a_name_or_alias_that_is_held_cannot_be_taken(registry, name, aliases):
    with pytest.raises(SpecError, match="every block kind is registered once") as caught:
        registry.register(name, aliases=aliases)(Two)
    assert "One; choose another name" in str(caught.value)
    # Nothing of the failed registration stays.
    assert [entry.name for entry in registry] == ["one"]
    assert "two" not in registry


def test_removing_a_kind_frees_its_name_and_aliases(registry):
    registry.remove("one")
    assert len(registry) == 0
    assert "uno" not in registry
    registry.register("uno", aliases=("one",))(Two)
    assert registry.get("one").cls is Two


def test_an_unknown_kind_is_told_the_nearest_and_where(registry):
    with pytest.raises(SpecError) as caught:
        registry.get("onne", where="stages.0.block")
    assert str(caught.value) == (
        "stages.0.block: a block must be of a registered kind, got 'onne'; did you mean 'one'?"
    )


def test_an_unregistered_class_is_told_how_to_register(registry):
    with pytest.raises(SpecError, match=r"Two: a block must be registered.*@register_block\(name"):
        registry.entry_of(Two)


def test_slots_are_written_by_their_names():
    assert [slot.value for slot in Slot] == [
        "stem",
        "transition",
        "block",
        "fusion",
        "aggregator",
        "head",
    ]
