"""One way to say that a name is not known."""

import difflib
from collections.abc import Iterable


def unknown(kind: str, value: object, known: Iterable[str]) -> ValueError:
    """A ValueError with the value, a suggestion when one is close, and everything that is known."""
    names = list(known)
    close = difflib.get_close_matches(str(value), names, n=1)
    guess = f" Did you mean {close[0]!r}?" if close else ""
    return ValueError(f"There is no {kind} {value!r}.{guess} Known: {', '.join(names)}.")
