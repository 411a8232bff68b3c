"""Pretrain the course ResNets and the course GPT that are not there yet (`make checkpoints`).

Pretraining seed 0 is shipped in data/checkpoints/: delete a file there to make it again. Seeds 1 to 7 of three sources
go to build/checkpoints/: lesson 4 judges on eight pretraining runs. Two runs give the same accuracy within a point or
two, not the same bytes: the order of floating-point sums differs between processors. The GPT has one seed; its run goes
on where it was interrupted.
"""

from pathlib import Path

from joblib import Parallel, delayed

from runs import lesson04, reading
from runs.pretraining import pretrain
from transfer_utils import data, machine
from transfer_utils.backbones import checkpoint_card, checkpoint_folder

RUNS = Path(__file__).parent.parent / "build" / "runs"
PRETRAININGS = 8


def is_made(path: Path) -> bool:
    """Whether a whole checkpoint with its card is there."""
    try:
        checkpoint_card(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def main() -> None:
    jobs = [(name, 0) for name in data.SOURCES]
    jobs += [(name, seed) for seed in range(1, PRETRAININGS) for name in lesson04.SOURCES]
    missing = [(name, seed) for name, seed in jobs if not is_made(checkpoint_folder(seed) / name)]
    runs = [delayed(pretrain)(name, seed, checkpoint_folder(seed)) for name, seed in missing]
    if not is_made(checkpoint_folder(0) / reading.NAME):
        runs.insert(0, delayed(reading.pretrain)(checkpoint_folder(0), RUNS))  # the longest first
    for line in Parallel(n_jobs=2, return_as="generator_unordered")(runs):
        print(line, flush=True)
    machine.write_checksums("checkpoints")


if __name__ == "__main__":
    main()
