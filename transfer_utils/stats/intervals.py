"""Means with intervals: every plus-or-minus in the course comes from here."""

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Verdict(StrEnum):
    """What an interval says about a difference; either way, when it holds zero."""

    MORE = "more"
    LESS = "less"
    EITHER = "either way"


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % t-interval over `n` seeds."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{self.low:.1%}, {self.high:.1%}] over {self.n} seeds"

    @property
    def verdict(self) -> Verdict:
        """What a difference allows us to say, by where zero lies."""
        return Verdict.MORE if self.low > 0 else Verdict.LESS if self.high < 0 else Verdict.EITHER

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def told(self, margin: float = 0.02) -> str:
        """What we may say of a difference: the same within the margin, more, less, or else the bound that it gives.

        margin: the largest difference that does not matter, 0.02 for 2 points. ValueError unless it is above 0.
        """
        if not isinstance(margin, numbers.Real) or not margin > 0:
            raise ValueError(
                f"told() got margin={margin!r}; it is the largest difference that does not matter, and above 0: 0.02."
            )
        if -margin <= self.low and self.high <= margin:
            return f"the same within {_points(100 * margin)}"
        if self.verdict is not Verdict.EITHER:
            return str(self.verdict)
        largest = round(100 * max(-self.low, self.high), 6)  # 100 * 0.07 is a little more than 7
        return f"at most {_points(math.ceil(largest))} either way"


def _points(number: float) -> str:
    return "1 point" if f"{number:g}" == "1" else f"{number:g} points"


class Share(Interval):
    """A share of `n` photos, with the 95 % Wilson interval of the share among endlessly many such photos."""

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{self.low:.1%}, {self.high:.1%}] of {self.n} photos"


def share_interval(right: int, n: int) -> Share:
    """`right` of `n` photos as a share with its 95 % interval. ValueError unless 0 <= right <= n and n >= 1.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    if not 0 <= right <= n or n < 1:
        raise ValueError(f"share_interval() got {right} of {n}; it needs at least 1 photo, and 0 to all of them right.")
    from scipy.stats import binomtest  # takes half a second to import

    found = binomtest(int(right), int(n)).proportion_ci(method="wilson")
    return Share(right / n, float(found.low), float(found.high), int(n))


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> Interval:
    """The mean of one value per seed and its t-interval. ValueError for fewer than two values."""
    sample = np.asarray(list(values), dtype=float)
    if len(sample) < 2:
        raise ValueError(f"mean_interval() got {len(sample)} value(s); an interval needs at least 2 seeds.")
    from scipy.stats import t

    half = t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return Interval(float(sample.mean()), float(sample.mean() - half), float(sample.mean() + half), len(sample))
