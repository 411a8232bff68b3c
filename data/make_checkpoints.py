"""Pretrain the course ResNet on each source and write data/checkpoints/ (`make checkpoints`).

Pretraining seed 0 is shipped. Seeds 1 to 4 of `both` go to build/checkpoints/: lesson 01's stored rows pair
fine-tuning seed i with pretraining seed i. Two runs give the same accuracy within a point or two, not the same
bytes: the order of floating-point sums differs between processors.
"""

from joblib import Parallel, delayed

from transfer_utils import embedded, sources
from transfer_utils.experiments import SEEDS, checkpoint_folder


def main() -> None:
    jobs = [(name, 0) for name in sources.SOURCES] + [("both", seed) for seed in SEEDS if seed > 0]
    runs = (delayed(sources.pretrain)(name, seed, checkpoint_folder(seed)) for name, seed in jobs)
    for line in Parallel(n_jobs=2, return_as="generator_unordered")(runs):
        print(line, flush=True)
    embedded.write_checksums("checkpoints")


if __name__ == "__main__":
    main()
