"""What the frozen stages say about each photo, computed once."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from transfer_utils import data, machine
from transfer_utils.backbones import Mean, StagedModel, keeping_modes, unwrapped
from transfer_utils.data import ImageSet, LabelledSet
from transfer_utils.machine import (
    autocast,
    best_device,
    cache_folder,
    is_whole,
    precision,
)
from transfer_utils.training.checks import as_features
from transfer_utils.training.converted import BATCH, as_tuple, converted, runtime
from transfer_utils.training.fingerprints import fingerprint
from transfer_utils.training.items import check_input, prepared, raw, seen

FEATURE_BATCH = 256
CACHE_LIMIT = 2_000_000_000  # bytes of features in the cache folder


def extract(model: nn.Module, photos: LabelledSet, size: int, stage: str | None = None, cache: bool = True) -> Tensor:
    """The output of the stages through `stage` for every photo or line, in eval mode: float32 on the CPU.

    size: pixels at which photos are seen, or tokens of a line that are read. stage=None: the vector that the head
    reads, (N, D). cache: keep a copy in the user's cache folder, found again by all that acts in the forward pass;
    computed each time where nobody can tell, as with layers of a notebook.
    ValueError for an unknown stage, and for a size that is no whole number of at least 1; TypeError for what is no
    ImageSet, or no TextSet where the model reads lines.
    """
    model = unwrapped(model)
    check_input("extract()", model, photos, size)
    prefix, _ = model.split(after=stage or model.stages[-2])
    rows = raw(model, photos, size)
    return _cached("extract", model, prefix, rows, size, cache, lambda: run_network(model, prefix, rows, size))


def extract_views(model: nn.Module, photos: LabelledSet, size: int, seed: int, cache: bool = True) -> Tensor:
    """The frozen stages' output for the data.VIEWS copies of each photo, (VIEWS, N, ...): train the rest on these.

    ValueError for a model without a frozen stage, TypeError for lines; otherwise errors as in extract.
    """
    model = unwrapped(model)
    check_input("extract_views()", model, photos, size)
    if not isinstance(photos, ImageSet):
        raise TypeError("extract_views() got lines, and only photos have views. Take extract().")
    if not model.frozen:
        raise ValueError(
            f"{model.name} has no frozen stage, so there is nothing to compute once. "
            f"Freeze some stages first, for example freeze(model, through={model.stages[-2]!r})."
        )
    prefix, _ = model.parts()
    seed = machine.generator(seed).initial_seed()  # a number, whichever kind of seed it was: it goes into the key

    def compute() -> Tensor:
        return torch.stack([run_network(model, prefix, view, size) for view in data.views(photos.images, seed)])

    return _cached(f"{data.VIEWS} views {seed}", model, prefix, photos.images, size, cache, compute)


def by_stage(model: nn.Module, photos: LabelledSet, size: int) -> dict[str, Tensor]:
    """One pass, every stage: outputs averaged over positions or tokens, float32 (N, channels) on the CPU for each.

    Errors as in extract.
    """
    model = unwrapped(model)
    check_input("by_stage()", model, photos, size)
    stages = [name for name in model.stages[:-1] if name != "pool"]
    averages = _Averages(OrderedDict((name, model.get_submodule(name)) for name in stages))
    return dict(zip(stages, _outputs(model, averages, raw(model, photos, size), size), strict=True))


class _Averages(nn.Sequential):
    """Stages in a row that give what each of them says, on average."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found = []
        for stage in self:
            x = stage(x)
            found.append(_averaged(x))
        return tuple(found)


def _averaged(x: Tensor) -> Tensor:
    """The mean of a map over its positions, or of a line over its tokens, in float32."""
    return x.float().mean((2, 3)) if x.ndim == 4 else Mean()(x) if x.ndim == 3 else x.float()


def run_network(model: StagedModel, network: nn.Module, images: Tensor, size: int) -> Tensor:
    """What `network`, the model or its first stages, gives for images, uint8 (N, 3, H, W), or tokens, int64 (N, L), in
    eval mode: float32 on the CPU. TypeError or ValueError for what are no such images or tokens."""
    model.check_rows("run_network()", images)
    (found,) = _outputs(model, network, images, size)
    return found


def _outputs(model: StagedModel, network: nn.Module, rows: Tensor, size: int) -> list[Tensor]:
    """What the network gives for all rows, in eval mode: each of its outputs, float32 on the CPU."""
    with machine.on_free_cores(), machine.nothing_kept():
        faster = converted(model, network, rows, size)
        if faster:
            parts = [faster(seen(model, batch, size)) for batch in rows.split(BATCH)]
        else:
            parts = _by_torch(model, network, rows, size)
    return [torch.cat(output) for output in zip(*parts, strict=True)]


def _by_torch(model: StagedModel, network: nn.Module, rows: Tensor, size: int) -> list[tuple[Tensor, ...]]:
    """The outputs batch by batch; every module's mode comes back."""
    device = best_device()

    def run(batch: Tensor, _: float) -> tuple[Tensor, ...]:
        outputs = as_tuple(network(prepared(model, batch.to(device), size)))
        return tuple(output.float().cpu() for output in outputs)

    work = machine.in_parts(run)
    # no_grad, not inference_mode: features must be able to enter a backward pass later
    with keeping_modes(model), torch.no_grad(), autocast(device):
        model.to(device).eval()
        return [part for batch in rows.split(FEATURE_BATCH) for part in work(batch)]


def _cached(
    kind: str,
    model: StagedModel,
    prefix: nn.Module,
    images: Tensor,
    size: int,
    cache: bool,
    compute: Callable[[], Tensor],
) -> Tensor:
    """The features from the cache folder, or computed and kept there for the next time, if that can be done."""
    key = _key(kind, model, prefix, images, size) if cache else None
    if key is None:
        return compute()
    path = cache_folder() / "features" / f"{key}.safetensors"
    features = machine.recall(path)
    if features is None:
        features = compute()
        machine.keep(path, features, CACHE_LIMIT)
    return features


def _key(kind: str, model: StagedModel, prefix: nn.Module, images: Tensor, size: int) -> str | None:
    """What the features are found again by. None where nobody can tell whether they are still the same."""
    device = best_device()
    return fingerprint(model, prefix, images, device, precision(device), runtime(images, size), kind, size)


def nearest(bank: Tensor, queries: Iterable[int], count: int = 8) -> Tensor:
    """The positions of the `count` most similar other rows (cosine) of bank (N, D) for each query: (queries, count).

    ValueError for a bank that is not one finite vector per photo, for queries that are no positions in it, and for
    more neighbours than there are others.
    """
    bank = as_features("nearest()", bank)
    rows = _positions(queries, len(bank))
    if not is_whole(count, 1) or count >= len(bank):
        raise ValueError(
            f"nearest() got count={count!r}, and each of the {len(bank)} rows has {len(bank) - 1} others. "
            "Ask for a whole number of them, at least 1."
        )
    centred = normalize(bank - bank.mean(0), dim=1)
    similarity = centred[rows] @ centred.T
    similarity[torch.arange(len(rows)), rows] = -torch.inf
    return similarity.topk(count, dim=1).indices


def _positions(queries: Any, count: int) -> list[int]:
    """The queries as a list; ValueError unless each of them is the position of one of `count` rows."""
    asked = queries.tolist() if isinstance(queries, Tensor) else queries
    rows: list[Any] = list(asked) if isinstance(asked, Iterable) else [asked]
    if not isinstance(asked, Iterable) or not all(is_whole(row, 0) and row < count for row in rows):
        raise ValueError(
            f"nearest() got queries={queries!r}; give a list of rows, whole numbers from 0 to {count - 1}."
        )
    return rows
