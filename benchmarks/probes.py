"""1,000 linear probes from one feature pass, ours against a loop of scikit-learn's.

Eight sizes x five draws x 25 penalties on the features of the course's network, cats, deer and horses; and the same
with the course's five penalties. Accuracy is the mean on valid photos.
"""

import time
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from transfer_utils import training
from transfer_utils.course import lesson04_map
from transfer_utils.data import TARGETS, splits

SIZES = lesson04_map.PROBE_SIZES
DRAWS = 5


def main(sizes: Sequence[int] = SIZES) -> str:
    train, valid, _ = splits(TARGETS["animals"])
    model = lesson04_map.start("both", 0, len(train.classes))
    bank, seen = (training.extract(model, photos, 32, cache=False) for photos in (train, valid))
    many = tuple(np.logspace(-3, 1, 25).tolist())
    sets = (bank, train.labels, seen, valid.labels)
    head = [
        "| probes | ours, s | scikit-learn, s | times ours | accuracy, ours | scikit-learn |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(compare(*sets, penalties, sizes) for penalties in (many, training.PENALTIES))])


def compare(
    bank: Tensor, labels: Tensor, seen: Tensor, seen_labels: Tensor, penalties: Sequence[float], sizes: Sequence[int]
) -> str:
    """Fit every probe in both ways, size by size, so that both meet the machine in the same mood."""
    ours, plain, accuracy = 0.0, 0.0, {"ours": [], "scikit-learn": []}
    for size in sizes:
        draws = torch.stack([_rows(labels, size, seed) for seed in range(DRAWS)])
        started = time.perf_counter()
        fitted = training.linear_probes(bank, labels, draws, penalties)
        ours += time.perf_counter() - started
        accuracy["ours"] += [probe.accuracy(seen, seen_labels) for draw in fitted for probe in draw]
        started = time.perf_counter()
        loop = [_scikit_learn(bank[rows], labels[rows], penalty) for rows in draws for penalty in penalties]
        plain += time.perf_counter() - started
        accuracy["scikit-learn"] += [
            oracle.score(((seen - centre) / scale).numpy(), seen_labels.numpy()) for oracle, centre, scale in loop
        ]
    means = " | ".join(f"{np.mean(values):.1%}" for values in accuracy.values())
    return f"| {len(accuracy['ours'])} | {ours:.2f} | {plain:.1f} | {plain / ours:.0f} | {means} |"


def _rows(labels: Tensor, per_class: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    of_class = [torch.nonzero(labels == i).flatten() for i in labels.unique()]
    return torch.cat([rows[torch.randperm(len(rows), generator=generator)[:per_class]] for rows in of_class])


def _scikit_learn(x: Tensor, y: Tensor, penalty: float) -> tuple[LogisticRegression, Tensor, Tensor]:
    """The same problem: scikit-learn's C is the weight of the summed loss against half the squared norm."""
    centre = x.mean(0)
    scale = (x - centre).square().mean().sqrt()
    # One thread: with more, its many small products wait for each other and take several times as long.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=1 / (len(x) * penalty), max_iter=1000)
        return model.fit(((x - centre) / scale).numpy(), y.numpy()), centre, scale


if __name__ == "__main__":
    print(main())
