"""The runs of lesson 4's grid: source x target x method x photos x seed, and every rate that is tried."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from transfer_utils.course import grid
from transfer_utils.data import SOURCES, TARGETS
from transfer_utils.stats import SEEDS, Row

COURSE, IMAGENET = grid.COURSE, grid.IMAGENET
PRETRAINED = {COURSE: tuple(SOURCES), IMAGENET: ("imagenet",)}
# The same number for every method, its scratch twin included. For the course's network, the three of seven that were
# best on valid photos for one method and size or another.
RATES = (3e-4, 1e-3, 3e-3)


@dataclass(frozen=True)
class Tried:
    """The learning rates that a method tries on a network, up to `most` photos per class."""

    network: str
    method: str
    rates: tuple[float, ...] = RATES
    most: int = 500

    def sources(self) -> Iterable[str]:
        """What the network starts from."""
        return ("scratch",) if grid.named(self.method).from_scratch else PRETRAINED[self.network]

    def sizes(self) -> list[int]:
        """Photos per class."""
        return [size for size in grid.EPOCHS[self.network] if size <= self.most]


TRIED = (
    Tried(COURSE, "scratch"),
    Tried(COURSE, "scratch, longer", (3e-3,)),  # no other rate was better for scratch on average
    Tried(COURSE, "full"),
    Tried(COURSE, "last stage"),
    Tried(COURSE, "head, then full", most=100),
    Tried(IMAGENET, "scratch", (1e-3, 3e-3, 1e-2)),
    Tried(IMAGENET, "head, then full", (1e-4, 3e-4, 1e-3)),
)


def training_jobs() -> list[Row]:
    """Every run that trains, quick ones first."""
    jobs = [
        {"network": tried.network, "source": source, "target": target, "method": tried.method}
        | {"per_class": size, "seed": seed, "rate": rate}
        for tried in TRIED
        for source, target, size, seed, rate in product(tried.sources(), TARGETS, tried.sizes(), SEEDS, tried.rates)
    ]
    return sorted(jobs, key=lambda job: (job["network"] == IMAGENET, job["per_class"]))


def probe_jobs() -> list[Row]:
    """Every network whose frozen features are probed; 'scratch' is one with random weights."""
    return [
        {"network": network, "source": source, "target": target, "method": "linear probe", "seed": seed}
        for network, sources in PRETRAINED.items()
        for source, target, seed in product(("scratch", *sources), TARGETS, SEEDS)
    ]


RUNS = {grid.probed: probe_jobs(), grid.trained: training_jobs()}
