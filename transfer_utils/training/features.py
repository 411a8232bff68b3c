"""What the frozen stages say about each photo, computed once."""

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from transfer_utils import data, machine
from transfer_utils.backbones import StagedModel, keeping_modes, unwrapped
from transfer_utils.data import ImageSet, resize
from transfer_utils.machine import autocast, best_device, cache_folder, channels_last, precision
from transfer_utils.training.fingerprints import fingerprint

FEATURE_BATCH = 256
CACHE_LIMIT = 2_000_000_000  # bytes of features in the cache folder
# Modes belong to the model, not to a thread: one that gives them back while another still computes would let
# batch-norms learn from the photos. Of all models, since two can share stages.
_ONE_AT_A_TIME = threading.RLock()


def extract(model: nn.Module, photos: ImageSet, size: int, stage: str | None = None, cache: bool = True) -> Tensor:
    """The output of the stages through `stage` for every photo, in eval mode: float32 on the CPU.

    stage=None: the vector that the head reads, (N, D). cache: keep a copy in the user's cache folder, found again
    by weights, photos, size and precision. ValueError for an unknown stage.
    """
    model = unwrapped(model)
    prefix, _ = model.split(after=stage or model.stages[-2])
    return _cached(
        "extract", model, prefix, photos.images, size, cache, lambda: run_network(model, prefix, photos.images, size)
    )


def extract_views(model: nn.Module, photos: ImageSet, size: int, seed: int, cache: bool = True) -> Tensor:
    """The frozen stages' output for the data.VIEWS copies of each photo, (VIEWS, N, ...): train the rest on these.

    ValueError for a model without a frozen stage.
    """
    model = unwrapped(model)
    if not model.frozen:
        raise ValueError(
            f"{model.name} has no frozen stage, so there is nothing to compute once. "
            f"Freeze some stages first, for example freeze(model, through={model.stages[-2]!r})."
        )
    prefix, _ = model.parts()

    def compute() -> Tensor:
        return torch.stack([run_network(model, prefix, view, size) for view in data.views(photos.images, seed)])

    return _cached(f"{data.VIEWS} views {seed}", model, prefix, photos.images, size, cache, compute)


def by_stage(model: nn.Module, photos: ImageSet, size: int) -> dict[str, Tensor]:
    """One pass, every stage: outputs averaged over positions, float32 (N, channels) on the CPU for each stage."""
    model = unwrapped(model)
    stages = [name for name in model.stages[:-1] if name != "pool"]

    def averages(x: Tensor) -> list[Tensor]:
        found = []
        for name in stages:
            x = model.get_submodule(name)(x)
            found.append((x.float().mean((2, 3)) if x.ndim == 4 else x.float()).cpu())
        return found

    parts = zip(*_map(model, averages, photos.images, size), strict=True)
    return {name: torch.cat(part) for name, part in zip(stages, parts, strict=True)}


def run_network(model: StagedModel, network: nn.Module, images: Tensor, size: int) -> Tensor:
    """What `network`, the model or its first stages, gives for uint8 images in eval mode: float32 on the CPU."""
    return torch.cat(_map(model, lambda x: network(x).float().cpu(), images, size))


def _map(model: StagedModel, function: Callable, images: Tensor, size: int) -> list:
    """function(x) for every preprocessed batch, with the model in eval mode; every module's mode comes back."""
    device = best_device()
    work = machine.in_parts(lambda batch, _: function(_prepare(model, batch.to(device), size)))
    # no_grad, not inference_mode: features must be able to enter a backward pass later
    with machine.nothing_kept(), _ONE_AT_A_TIME, keeping_modes(model), torch.no_grad(), autocast(device):
        model.to(device).eval()
        return [part for batch in images.split(FEATURE_BATCH) for part in work(batch)]


def _prepare(model: StagedModel, batch: Tensor, size: int) -> Tensor:
    return channels_last(model.preprocess(resize(batch, size)))


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
    return fingerprint(model, prefix, images, device, precision(device), kind, size)


def nearest(bank: Tensor, queries: Sequence[int], count: int = 8) -> Tensor:
    """The positions of the `count` most similar other rows (cosine) of bank (N, D) for each query: (queries, count)."""
    centred = normalize(bank - bank.mean(0), dim=1)
    similarity = centred[list(queries)] @ centred.T
    similarity[torch.arange(len(queries)), list(queries)] = -torch.inf
    return similarity.topk(count, dim=1).indices
