"""How long pretraining takes to the accuracy of the tutorial's recipe: as the tutorial, and as the course does it.

The course ResNet, 3,400 photos of five classes. The tutorial's recipe in the tutorial's loop: 25 epochs of SGD, at a
rate that falls to a tenth every 7 epochs. Ours in our loop: AdamW, one cycle, as few epochs as reach the same accuracy.
These, and the tutorial's rate, the best of 0.01, 0.03, 0.1 and 0.3, were chosen with other seeds. Each round has a new
seed. Accuracy is on valid photos.
"""

from functools import partial

from loops import our_loop, tutorial_loop
from side_by_side import Arms, race, table
from torch import nn

from transfer_utils import data, training

TRAIN = data.source_photos("both_small")
EPOCHS, TUTORIAL_EPOCHS = 9, 25
OURS = f"our recipe, {EPOCHS} epochs"


def main(repeats: int = 5, small: bool = False) -> str:
    short = arms(TRAIN.take(8), 1, 1)
    return table(race(short if small else arms(TRAIN, EPOCHS, TUTORIAL_EPOCHS), on_valid, repeats, warm_up=short), OURS)


def arms(photos: data.ImageSet, ours: int, tutorials: int) -> Arms:
    """Both ways, with their epochs."""
    return {
        OURS: partial(our_loop, photos, ours, 64, rate=3e-3),
        f"the tutorial's, {TUTORIAL_EPOCHS} epochs": partial(tutorial_loop, photos, tutorials, 128, rate=0.03),
    }


def on_valid(model: nn.Module) -> float:
    return training.accuracy(model, data.load("cifar10_photos", "valid").only(*TRAIN.classes), 32)


if __name__ == "__main__":
    print(main())
