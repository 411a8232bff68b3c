from transfer_utils.machine import unknown


def test_unknown_names_value_suggestion_and_rule():
    error = unknown("class", "tuck", ("ship", "truck"))
    assert isinstance(error, ValueError)
    assert str(error) == "There is no class 'tuck'. Did you mean 'truck'? Known: ship, truck."


def test_unknown_suggests_nothing_when_nothing_is_close():
    assert str(unknown("split", "xyz", ("train", "test"))) == "There is no split 'xyz'. Known: train, test."


def test_unknown_takes_any_value_and_any_iterable():
    assert str(unknown("size", 7, (name for name in ("32", "96")))) == "There is no size 7. Known: 32, 96."
