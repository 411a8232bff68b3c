"""The explorers of the lessons: stored rows and photos, turned into what the widget shows."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from transfer_utils import data, stats
from transfer_utils.data import ImageSet
from transfer_utils.show.pictures import heated
from transfer_utils.show.widgets import Explorer, explore
from transfer_utils.training import nearest


def label_explorer(rows: pd.DataFrame, line: str, title: str) -> Explorer:
    """Accuracy of stored rows: sliders for the line and for photos per class."""
    chart = _lines(rows, line)
    names, sizes = [drawn["name"] for drawn in chart["lines"]], chart["x"]
    return explore(
        title,
        {line: names, "photos per class": sizes},
        lambda i, j: {"sentence": _accuracy_sentence(chart, i, j), "mark": {"line": i, "x": j}},
        chart,
    )


def stage_explorer(rows: pd.DataFrame, banks: dict[str, Tensor], photos: ImageSet, queries: Sequence[int]) -> Explorer:
    """Stage by photos per class: accuracy of a probe, and the photos that each stage finds most alike.

    rows: columns stage, per_class, test. banks: {stage: features (N, D) of the photos}, in the order of the slider.
    queries: positions in photos.
    """
    names = list(banks)
    chart = _lines(rows.set_index("stage").loc[names].reset_index(), "stage")
    shown, used = _neighbour_frames(banks, photos, queries)

    def frame(i: int, j: int) -> dict[str, Any]:
        sentence = f"{_accuracy_sentence(chart, i, j)} {shown[names[i]]['sentence']}"
        return {**shown[names[i]], "sentence": sentence, "mark": {"line": i, "x": j}}

    controls = {"stage": names, "photos per class": chart["x"]}
    return explore(
        "Stage explorer", controls, frame, chart, photos.images[used], [len(names) - 1, len(chart["x"]) // 2]
    )


def network_explorer(banks: dict[str, dict[str, Tensor]], photos: ImageSet, queries: Sequence[int]) -> Explorer:
    """Network by stage: the photos that each stage of each network finds most alike.

    banks: {network: {stage: features (N, D) of the photos}}, the same stages in each. queries: positions in photos.
    """
    names, stages = list(banks), list(next(iter(banks.values())))
    flat = {f"{name}, {stage}": banks[name][stage] for name in names for stage in stages}
    shown, used = _neighbour_frames(flat, photos, queries)

    def frame(i: int, j: int) -> dict[str, Any]:
        key = f"{names[i]}, {stages[j]}"
        return {**shown[key], "sentence": f"{key}: {shown[key]['sentence']}"}

    start = [0, len(stages) - 1]
    return explore(
        "Network explorer", {"network": names, "stage": stages}, frame, images=photos.images[used], state=start
    )


def response_explorer(peaks: dict[str, Tensor], photos: ImageSet, channels: int = 6, most: int = 10) -> Explorer:
    """Slider over stages: for some channels of each, the photos that excite them most.

    peaks: {stage: (N, C) mean response of each channel to each photo}.
    """
    names = list(peaks)
    chosen = {stage: _top_photos(peaks[stage], channels, most) for stage in names}
    used = sorted({int(i) for tops in chosen.values() for top in tops.values() for i in top})
    tile = {position: i for i, position in enumerate(used)}

    def frame(i: int) -> dict[str, Any]:
        shown, pure = [], 0
        for channel, top in chosen[names[i]].items():
            labels = photos.labels[top]
            name, count = photos.classes[int(labels.mode().values)], int((labels == labels.mode().values).sum())
            pure += count
            words = f"{count} of {len(top)} are {name} photos"
            tiles = [tile[int(p)] for p in top]
            shown.append({"label": f"channel {channel}", "words": words, "tiles": tiles, "gap": most})
        share = pure / (len(shown) * most)
        sentence = f"{names[i]}: each row holds the photos that excite one channel most. On average {share:.0%} of a "
        return {"sentence": sentence + "row belong to its most frequent class.", "rows": shown}

    return explore("What each stage responds to", {"stage": names}, frame, images=photos.images[used])


def heat_explorer(photos: ImageSet, shares: Tensor, maps: Tensor) -> Explorer:
    """Photo by class asked about: the photo, and beside it where the network finds what speaks for that class.

    shares: its probability of each class, (N, C). maps: grad_cam of each photo for each class, (N, C, h, w).
    """
    count, classes = shares.shape
    overlays = [heated(photos.images, maps[:, c]) for c in range(classes)]
    tiles = torch.cat([photos.images, *overlays])
    names = [f"{i + 1}: {photos.classes[label]}" for i, label in enumerate(photos.labels)]

    def frame(i: int, c: int) -> dict[str, Any]:
        true, taken = photos.classes[photos.labels[i]], photos.classes[shares[i].argmax()]
        sentence = (
            f"Photo {i + 1} is of class {true}; the network says {taken} ({shares[i].max():.0%}). Bright in the second "
            f"picture: what speaks for {photos.classes[c]}, to which it gives {shares[i, c]:.0%}."
        )
        words = f"the photo, and the map for {photos.classes[c]}"
        row = {"label": f"for {photos.classes[c]}", "words": words, "tiles": [i, (c + 1) * count + i], "gap": 1}
        return {"sentence": sentence, "rows": [row]}

    start = [0, int(shares[0].argmax())]
    controls = {"photo": names, "class asked about": photos.classes}
    return explore("Grad-CAM explorer", controls, frame, images=tiles, state=start, shown=190)


def mistake_explorer(photos: ImageSet, names: Sequence[str], shares: Tensor, bank: Tensor, count: int = 8) -> Explorer:
    """The photos whose own class gets the smallest share, worst first, each with the photos most alike.

    names: of the photos' files. shares: probabilities (N, C) of a classifier that had not seen the photo. bank: (N, D).
    """
    own = shares.gather(1, photos.labels[:, None]).squeeze(1)
    worst = own.argsort()[:count].tolist()
    hits = nearest(bank, worst, count=min(6, len(bank) - 1)).tolist()
    used = sorted({*worst, *(i for row in hits for i in row)})
    small = data.resize(photos.images[used], 64)

    def frame(place: int) -> dict[str, Any]:
        query, near = worst[place], hits[place]
        true, taken = photos.classes[photos.labels[query]], photos.classes[shares[query].argmax()]
        others = [c + 1 for c, hit in enumerate(near) if photos.labels[hit] != photos.labels[query]]
        words = f"{len(near) - len(others)} of the {len(near)} most alike are in its class"
        told = (
            f"{taken}, with {shares[query].max():.0%}" if taken != true else f"{true}, but with only {own[query]:.0%}"
        )
        sentence = f"{names[query]} is in the folder {true}. The classifier says {told}; {words}."
        tiles = [used.index(i) for i in (query, *near)]
        row = {"label": true, "words": words, "tiles": tiles, "gap": 1, "wrong": others}
        return {"sentence": f"{sentence} Dashed frames mark other classes.", "rows": [row]}

    places = [f"{i + 1} of {len(worst)}" for i in range(len(worst))]
    return explore("Worst mistakes", {"mistake": places}, frame, images=small, shown=92)


def _neighbour_frames(
    banks: dict[str, Tensor], photos: ImageSet, queries: Sequence[int]
) -> tuple[dict[str, dict[str, Any]], list[int]]:
    """For each bank a sentence and a row of neighbours per query; and the positions of the photos in the sprite."""
    found = {name: nearest(bank, queries) for name, bank in banks.items()}
    used = sorted({*queries, *(int(i) for hits in found.values() for i in hits.flatten())})
    tile = {position: i for i, position in enumerate(used)}

    def frame(all_hits: Tensor) -> dict[str, Any]:
        shown, right = [], 0
        for query, hits in zip(queries, all_hits.tolist(), strict=True):
            name = photos.classes[photos.labels[query]]
            wrong = [c + 1 for c, hit in enumerate(hits) if photos.labels[hit] != photos.labels[query]]
            right += len(hits) - len(wrong)
            words = f"{len(hits) - len(wrong)} of {len(hits)} neighbours are the same class"
            tiles = [tile[p] for p in (query, *hits)]
            shown.append({"label": name, "words": words, "tiles": tiles, "gap": 1, "wrong": wrong})
        note = (
            f"{right} of the {all_hits.numel()} neighbours below are of the same class; dashed frames mark the others."
        )
        return {"sentence": note, "rows": shown}

    return {name: frame(hits) for name, hits in found.items()}, used


def _top_photos(response: Tensor, channels: int, most: int) -> dict[int, Tensor]:
    # The channels that differ most between photos, relative to their own level, say most about what they look for.
    contrast = response.std(0) / response.abs().mean(0).clamp_min(1e-6)
    return {int(c): response[:, c].topk(most).indices for c in contrast.topk(channels).indices.sort().values}


def _accuracy_sentence(chart: dict[str, Any], line: int, x: int) -> str:
    drawn = chart["lines"][line]
    mean, low, high = (drawn[key][x] for key in ("mean", "low", "high"))
    size = chart["x"][x]
    return (
        f"{drawn['name']}, {size} photos per class: {mean:.1%} of test photos, 95 % interval {low:.1%} to {high:.1%}."
    )


def _lines(rows: pd.DataFrame, line: str, value: str = "test") -> dict[str, Any]:
    """A chart of accuracy against photos per class with one line for each value of a column of the stored rows."""
    summary = stats.summarise(rows, line, "per_class", value=value)
    drawn = []
    for name, part in summary.groupby(line, sort=False):
        part = part.sort_values("per_class")
        drawn.append({"name": str(name), **{c: part[c].round(4).tolist() for c in ("mean", "low", "high")}})
    sizes = [str(size) for size in sorted(rows["per_class"].unique())]
    return {"x": sizes, "xlabel": "photos per class", "ylabel": f"accuracy on {value} photos", "lines": drawn}
