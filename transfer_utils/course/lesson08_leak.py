"""The check of exercise 8.3, which lines of the test pretraining has read."""

from collections.abc import Callable, Collection, Iterable

from transfer_utils.course.checking import NotYet, checked, filled

PRETRAINING = (
    "a tall plant with a woody stem",
    "a bird that sings at night",
    "The act of writing a letter.",
    "a person who bakes bread",
    "a large body of salt water",
    "the re-creation of an old dance",
    "a green house by the sea",
)
TEST = (  # each line, and whether pretraining has read it
    ("a small insect with six legs", False),
    ("the act of writing a letter", True),
    ("a bird that sings at night", True),
    ("a person who bakes", False),
    ("A Large Body of Salt Water", True),
    ("a bird that sings at night and sleeps by day", False),
    ("  a person who bakes bread ", True),
    ("a tall plant with a woody stem;", True),
    ("a bird that sings at night", True),
    ("a large body of salt water,", True),
    ("the recreation of an old dance", False),
    ("a greenhouse by the sea", False),
)
ONE_OF_EACH = (
    "a set or dict keeps one of each. Make a set of pretraining's lines, and go through test itself, in order."
)
READ, UNREAD = ([line for line, read in TEST if read is wanted] for wanted in (True, False))


@checked
def leaked(answer: Callable) -> str:
    """The learner's leaked(pretraining, test) finds the test lines that pretraining has read, but for small marks."""
    found = answer(list(PRETRAINING), [line for line, _ in TEST])
    filled(found, answer, "return a list of lines.")
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise NotYet(f"it returned {found!r}.", "return the lines themselves, in a list.")
    if not isinstance(found, Collection):
        raise NotYet(f"it returned a {type(found).__name__}, which is gone once it is read.", "return a list: [...].")
    lines = list(found)
    if not all(isinstance(line, str) for line in lines):
        raise NotYet(f"it returned {lines}.", "return the lines themselves, as they stand in test.")
    _all_stand_in_test(lines)
    _none_is_unread(lines)
    _none_is_missing(lines)
    _as_often_and_in_order(lines)
    return "every line that pretraining has read, in whatever dress, and no other one."


def _all_stand_in_test(found: list[str]) -> None:
    for line in found:
        if line not in READ + UNREAD:
            own = [f", but {own!r} is" for own in READ + UNREAD if _plain(own) == _plain(line)]
            raise NotYet(
                f"{line!r} is no line of test{own[0] if own else ''}.",
                "compare changed lines, and return test's own, unchanged.",
            )


def _none_is_unread(found: list[str]) -> None:
    extra = [line for line in UNREAD if line in found]
    if extra == UNREAD and not set(PRETRAINING) & set(found):
        raise NotYet(
            f"{extra[0]!r} is in it, and what pretraining has read is not: the answer is turned round.",
            "keep the lines that pretraining has read, not those that it has not.",
        )
    if extra:
        line = extra[0]
        near, hint = _near(line)
        raise NotYet(f"{line!r} is in it, and pretraining has no such line{near}.", hint)


def _near(line: str) -> tuple[str, str]:
    """What comes near to a line that pretraining has not read, and a hint."""
    for other in PRETRAINING:
        if other in line or line in other:
            return f", only {other!r}", "a part is not enough: compare whole lines."
        if _letters(other) == _letters(line):
            return f", only {other!r}", "inside a line, marks and spaces count: leave out those at its ends."
    return "", "leave out what pretraining has not read."


def _none_is_missing(found: list[str]) -> None:
    """Raise NotYet for the missing line that has the fewest differences from what pretraining has read."""
    missing = [line for line in READ if line not in found]
    if missing:
        line, other = min(map(_and_its_like, missing), key=lambda pair: len(_differences(*pair)))
        why = " and ".join(_differences(line, other))
        raise NotYet(
            f"{line!r} is missing; pretraining has {other!r}.",
            f"they differ in {why}: make both alike before you compare them." if why else "the two are equal: keep it.",
        )


def _as_often_and_in_order(found: list[str]) -> None:
    for line in READ:
        there, here = READ.count(line), found.count(line)
        if here != there:
            raise NotYet(
                f"{line!r} stands in test {_times(there)}, and in the answer {_times(here)}.",
                ONE_OF_EACH if here < there else "go through test alone, and once: each of its lines is kept or not.",
            )
    if found != READ:
        raise NotYet(
            "the lines are right, their order is not.", "go through test once, from its first line to its last."
        )


def _and_its_like(line: str) -> tuple[str, str]:
    return line, next(other for other in PRETRAINING if _plain(other) == _plain(line))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _plain(line: str) -> str:
    return line.lower().strip().rstrip(".,;")


def _letters(line: str) -> str:
    return "".join(filter(str.isalpha, line.lower()))


def _differences(line: str, other: str) -> list[str]:
    """In what two lines differ that count as the same."""
    bare, other_bare = line.strip(), other.strip()
    marks = [repr(text[-1]) + " at the end" for text in (bare, other_bare) if not text[-1].isalpha()]
    spaces = ["spaces around them"] * (bare != line)
    return ["capital letters"] * (bare.rstrip(".,;") != other_bare.rstrip(".,;")) + marks + spaces
