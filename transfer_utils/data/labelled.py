"""What photos and lines with labels have in common: picked and drawn from without changing them."""

import copy
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from transfer_utils import machine
from transfer_utils.machine import is_whole, unknown


class LabelledSet:
    """Items in memory, each with a label.

    labels: int64 (N,), an index into classes. classes: names, no two the same.
    """

    labels: Tensor
    classes: tuple[str, ...]
    one: ClassVar[str]  # what messages call an item
    many: ClassVar[str]

    def _items_at(self, index: Any) -> dict[str, Any]:
        """The field with the items at a tensor, list or slice of positions, by its name."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | Sequence[int] | slice) -> Self:
        """The items at a tensor, list or slice of positions. ValueError for a single position, and for no position."""
        try:
            labels = self.labels[index]
            items = self._items_at(index) if labels.ndim == 1 else {}
        except (IndexError, TypeError, ValueError) as error:  # torch's words, for whatever is no index
            raise ValueError(
                f"{self.many}[...] got a {type(index).__name__} that picks nothing of {len(self)} {self.many} "
                f"({error}). Give a list of positions, one True or False a {self.one}, or a slice. "
                f"{self.many.capitalize()} of a class: {self.many}.only({self.classes[0]!r})."
            ) from error
        if labels.ndim != 1:
            raise ValueError(
                f"{self.many}[{index}] would be no set of {self.many}. Give a list of positions, or a slice."
            )
        return self._part(labels=labels, **items)

    def _part(self, **changes: Any) -> Self:
        """A set made of this one, without another check: one dark photo of a good set is fine."""
        part = copy.copy(self)
        part.__dict__.update(changes)
        return part

    def only(self, *classes: str) -> Self:
        """The items of these classes, relabelled 0, 1, ... in the order given. ValueError for an unknown class."""
        if not classes:
            raise ValueError(f"only() got no class; name at least one of: {', '.join(self.classes)}.")
        for name in classes:
            if name not in self.classes:
                raise unknown("class", name, self.classes)
        if len(set(classes)) < len(classes):
            raise ValueError(f"only() got a class twice: {', '.join(classes)}. Name each class once.")
        parts = [torch.nonzero(self.labels == self.classes.index(name)).flatten() for name in classes]
        labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor([len(p) for p in parts]))
        return self._part(labels=labels, classes=tuple(classes), **self._items_at(torch.cat(parts)))

    def take(self, per_class: int, seed: int = 0) -> Self:
        """A random draw of per_class items of every class. ValueError for zero, or more than there are."""
        counts = torch.bincount(self.labels, minlength=len(self.classes))
        if not is_whole(per_class, 1):
            raise ValueError(
                f"take() got per_class={per_class!r}; it needs at least 1 {self.one} per class, a whole number."
            )
        if per_class > counts.min():
            scarce, least = self.classes[int(counts.argmin())], int(counts.min())
            way = f"Ask for at most {least}." if least else f"Choose classes that have {self.many}, with only()."
            raise ValueError(f"take() got per_class={per_class}, but {scarce!r} has only {least} {self.many}. {way}")
        draw, _ = self._shuffled_by_class(seed, [per_class] * len(self.classes))
        return self[draw]

    def split(self, fraction: float, seed: int = 0) -> tuple[Self, Self]:
        """Two disjoint parts: about `fraction` of every class, and the rest. ValueError unless 0 < fraction < 1."""
        if not (isinstance(fraction, numbers.Real) and 0 < fraction < 1):
            raise ValueError(f"split() got fraction={fraction!r}; it must lie between 0 and 1, for example 0.8.")
        counts = torch.bincount(self.labels, minlength=len(self.classes)).tolist()
        first, rest = self._shuffled_by_class(seed, [round(fraction * n) for n in counts])
        return self[first], self[rest]

    def _shuffled_by_class(self, seed: int, sizes: list[int]) -> tuple[Tensor, Tensor]:
        generator = machine.generator(seed)
        first, rest = [], []
        for label, size in enumerate(sizes):
            members = torch.nonzero(self.labels == label).flatten()
            members = members[torch.randperm(len(members), generator=generator)]
            first.append(members[:size])
            rest.append(members[size:])
        return torch.cat(first), torch.cat(rest)


def checked_names(call: str, classes: Any) -> tuple[str, ...]:
    """The names of classes as a tuple. TypeError or ValueError for what are no such names."""
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise TypeError(
            f"{call} got classes={classes!r}; they are a tuple of names in the order of the labels, for example "
            "('cat', 'dog'), or ('cat',) for one class."
        )
    if not classes or len(set(classes)) < len(classes):
        raise ValueError(f"{call} got the classes {classes!r}. Name at least one class, and each of them once.")
    return tuple(classes)
