"""The ways to learn a new task."""

import pytest

from transfer_utils.course import methods

EPOCHS = 6


def test_a_method_is_found_by_its_name_and_its_phases_take_all_epochs():
    for name in methods.METHODS:
        method = methods.named(name)
        assert method.name == name
        assert sum(share for _, share in method.plan(EPOCHS)) == (0 if method.probe else method.longer * EPOCHS)


def test_what_the_methods_start_from_and_which_takes_its_time():
    found = methods.METHODS.values()
    assert all(
        method.from_scratch == (method.name.startswith("scratch") or "random weights" in method.name)
        for method in found
    )
    assert all(method.longer == (5 if method.name.endswith(", longer") else 1) for method in found)
    assert [method.name for method in found if method.probe] == ["linear probe, random weights", "linear probe"]


def test_an_unknown_method_is_told_from_those_that_there_are():
    with pytest.raises(ValueError, match="no method 'last stag'. Did you mean 'last stage'"):
        methods.named("last stag")
