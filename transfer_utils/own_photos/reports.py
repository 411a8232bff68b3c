"""What a learner should know about a folder of photos before training on it."""

from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd

from transfer_utils.own_photos.decode import shown
from transfer_utils.own_photos.folders import SAME, PhotoFolder

FEW, ENOUGH, IMBALANCE, SHOWN = 10, 100, 3, 10


def report(folder: PhotoFolder) -> str:
    """What was found, in a few short lines: counts, what was left out and why, and how to split."""
    files = folder.files
    left_out = files[~files["used"]]
    copies = left_out["note"].str.startswith(SAME)
    counts = dict(files[files["used"]].groupby("class").size())
    lines = [
        f"{_many(len(folder.names), 'photo')} in {len(counts)} classes; {_many(len(left_out), 'file')} left out.",
        "Photos per class: " + ", ".join(f"{shown(name)} {number}" for name, number in counts.items()) + ".",
        _sizes(files[files["used"]]),
        *_balance(counts),
        *_listing("could not be used", left_out[~copies]),
        *_listing("left out because the same file is there already", left_out[copies]),
        *_look_alikes(folder),
        *_notes(files[files["used"]]["note"]),
        *_similar_class_names(counts),
        _advice(counts),
    ]
    return "\n".join(lines)


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _sizes(used: pd.DataFrame) -> str:
    by_area = used.iloc[(used["width"] * used["height"]).argsort(kind="stable")]
    small, large = by_area.iloc[0], by_area.iloc[-1]
    return f"Sizes: {small.width} x {small.height} to {large.width} x {large.height} pixels."


def _balance(counts: dict[str, int]) -> list[str]:
    lines = [
        f"Class {shown(name)!r} has only {_many(number, 'photo')}; with fewer than {FEW}, luck decides. Add more."
        for name, number in counts.items()
        if number < FEW
    ]
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] > IMBALANCE * counts[least]:
        lines.append(
            f"{shown(most)!r} has {counts[most] / counts[least]:.1f} times as many photos as {shown(least)!r}: "
            f"always guessing {shown(most)!r} would be right for {counts[most] / sum(counts.values()):.0%}."
        )
    return lines


def _listing(what: str, rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    lines = [f"  {shown(file)}: {shown(note)}" for file, note in zip(rows["file"], rows["note"], strict=True)]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"{_many(len(lines), 'file')} {what}:", *lines[:SHOWN], *more]


def _look_alikes(folder: PhotoFolder) -> list[str]:
    members = defaultdict(list)
    for name, group in zip(folder.names, folder.groups.tolist(), strict=True):
        members[group].append(shown(name))
    groups = [names for names in members.values() if len(names) > 1]
    if not groups:
        return []
    first = " and ".join(groups[0][:2])
    return [f"{sum(map(len, groups))} photos look nearly like another, such as {first}; they stay together in a split."]


def _notes(notes: pd.Series) -> list[str]:
    counts = Counter(note for joined in notes for note in joined.split("; ") if note)
    return [f"{_many(number, 'photo')}: {note}." for note, number in counts.most_common()]


def _similar_class_names(counts: Iterable[str]) -> list[str]:
    similar = defaultdict(list)
    for name in counts:
        similar[name.casefold().strip()].append(repr(name))
    return [
        f"The classes {' and '.join(names)} differ only by capitals or spaces; merge them if they are one class."
        for names in similar.values()
        if len(names) > 1
    ]


def _advice(counts: dict[str, int]) -> str:
    least = min(counts, key=counts.__getitem__)
    if counts[least] >= ENOUGH:
        return "Suggested split: hold out 20 % of the photos, or use cross-validation."
    return f"Suggested split: use cross-validation, because {shown(least)!r} has fewer than {ENOUGH} photos."
