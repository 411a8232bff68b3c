"""Whether the cost of a photo depends on how many there are: an epoch of training, and a frozen pass, at 32 pixels."""

import time

import torch

from transfer_utils import backbones, data, machine, training
from transfer_utils.training import Recipe

COUNTS = (1_000, 10_000, 50_000)


def main(repeats: int = 3, small: bool = False) -> str:
    machine.hold_memory()
    every = data.load("cifar10_photos", "train")
    lines = ["| photos | training, ms a photo | frozen pass, ms a photo |", "|---|---|---|"]
    costs = {count: ([], []) for count in ((100, 200) if small else COUNTS)}
    once(every[torch.arange(100)])  # what is built only once
    for _ in range(repeats):
        for count, seen in costs.items():
            for kind, seconds in zip(seen, once(every[torch.arange(count) % len(every)]), strict=True):
                kind.append(1000 * seconds / count)
    for count, kinds in costs.items():
        lines.append(f"| {count:,} | " + " | ".join(f"{sorted(kind)[len(kind) // 2]:.2f}" for kind in kinds) + " |")
    return "\n".join(lines)


def once(photos: data.ImageSet) -> tuple[float, float]:
    """Seconds of an epoch, and of a pass."""
    model = backbones.course_resnet(10, seed=0)
    started = time.perf_counter()
    training.fit(model, photos, None, 32, Recipe(1, 1e-3, batch=128), progress=False)
    trained = time.perf_counter()
    training.extract(model, photos, 32, cache=False)
    return trained - started, time.perf_counter() - trained


if __name__ == "__main__":
    print(main())
