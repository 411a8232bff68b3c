"""How fast one training is: our loop, the bare arithmetic, the loop of the tutorials, fastai, Lightning and skorch.

The same network, photos, epochs and batch, each round with a new seed. Ours computes in the precision that this
processor is best at, and so does the bare loop; the others are as they come: float32, on photos that the transforms of
torchvision flip, shift and normalise one by one. The bare loop does none of this: it is what the machine can do.
"""

import importlib.util
import itertools
import warnings
from collections.abc import Callable
from functools import partial

import torch
from PIL import Image
from side_by_side import race, table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from transfer_utils import backbones, machine, training
from transfer_utils.data import TARGETS, ImageSet, splits
from transfer_utils.training import Recipe

OURS = "our loop"
RATE = 1e-3
SEEDS = itertools.count()  # each arm, in its process, counts on from round to round
TRAIN, VALID, _ = splits(TARGETS["animals"])


def main(repeats: int = 5, small: bool = False) -> str:
    photos, epochs, batch = (TRAIN.take(8), 1, 8) if small else (TRAIN.take(600), 3, 128)
    loops: dict[str, Callable] = {
        OURS: our_loop,
        "bare forward, backward, step": bare_loop,
        "tutorial loop": tutorial_loop,
        **peers(),
    }
    arms = {name: partial(loop, photos, epochs, batch) for name, loop in loops.items()}
    return table(race(arms, on_valid, repeats), OURS)


def on_valid(model: nn.Module) -> float:
    return training.accuracy(model, VALID, 32)


def fresh(photos: ImageSet) -> backbones.StagedModel:
    """A network with the next seed, which the order of the photos goes by as well."""
    seed = next(SEEDS)
    torch.manual_seed(seed)
    return backbones.course_resnet(len(photos.classes), seed)


def our_loop(photos: ImageSet, epochs: int, batch: int, rate: float = RATE) -> nn.Module:
    machine.hold_memory()
    model = fresh(photos)
    recipe = Recipe(epochs, rate, batch=batch, seed=torch.initial_seed())
    training.fit(model, photos, None, 32, recipe, progress=False)
    return model


def bare_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    """Nothing but the arithmetic, in the same precision and layout, without augmentation or bookkeeping."""
    machine.hold_memory()
    device, model = machine.best_device(), fresh(photos).train()
    x, y = machine.channels_last(model.preprocess(photos.images)), photos.labels
    optimiser = torch.optim.AdamW(model.parameters(), RATE, fused=True)
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(batch):
            with machine.autocast(device, training=model):
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
    return model


class Pictures(Dataset):
    """What a tutorial reads from a folder; here the pictures lie in memory. The course augments in the same way."""

    def __init__(self, photos: ImageSet):
        self.pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in photos.images]
        self.labels = photos.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def tutorial_loop(photos: ImageSet, epochs: int, batch: int, rate: float = 0.01) -> nn.Module:
    """The loop of https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html with its SGD and `.item()`."""
    model = fresh(photos)
    loader = DataLoader(Pictures(photos), batch_size=batch, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=7, gamma=0.1)
    for _ in range(epochs):
        model.train()
        running_loss, corrects = 0.0, 0
        for inputs, labels in loader:
            optimiser.zero_grad()
            outputs = model(inputs)
            _, found = torch.max(outputs, 1)
            loss = criterion(outputs, labels)
            loss.backward()
            optimiser.step()
            running_loss += loss.item() * inputs.size(0)
            corrects += torch.sum(found == labels).item()
        schedule.step()
    return model


def peers() -> dict[str, Callable]:
    """The libraries that are installed (extra `bench`), each as it comes."""
    loops = {"fastai": fastai_loop, "lightning": lightning_loop, "skorch": skorch_loop}
    for name in loops:
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed, so it is left out: pip install 'transfer_utils[bench]'")
    return {name: loop for name, loop in loops.items() if importlib.util.find_spec(name)}


def fastai_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    from fastai.callback import progress, schedule  # noqa: F401  # they give a Learner its methods
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    model = fresh(photos)
    # Without the worker processes that it starts by itself: with them it took four times as long.
    loaders = DataLoaders.from_dsets(Pictures(photos), Pictures(photos.take(1)), bs=batch, num_workers=0)
    learner = Learner(loaders, model, loss_func=nn.CrossEntropyLoss())
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs, RATE)
    return model


def lightning_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, network: nn.Module):
            super().__init__()
            self.network = network

        def training_step(self, pair: list[Tensor], _: int) -> Tensor:
            return nn.functional.cross_entropy(self.network(pair[0]), pair[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), RATE)

    model = fresh(photos)
    loader = DataLoader(Pictures(photos), batch_size=batch, shuffle=True)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **quiet).fit(
            Module(model), loader
        )
    return model


def skorch_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    from skorch import NeuralNetClassifier

    model = fresh(photos)
    how = {"lr": RATE, "max_epochs": epochs, "batch_size": batch, "iterator_train__shuffle": True}
    trained = NeuralNetClassifier(
        model, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, train_split=None, verbose=0, **how
    )
    return trained.fit(Pictures(photos), None).module_


if __name__ == "__main__":
    print(main())
