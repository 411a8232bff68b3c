"""How fast one training is: our loop, the bare arithmetic, the loop of the tutorials, fastai, Lightning and skorch.

The same network, photos, epochs and batch. Ours augments and computes in the precision that this processor is best at,
and so does the bare loop; the others are as they come: float32. Fastai, Lightning and skorch are spared decoding,
normalising and augmenting: they get tensors that are ready.
"""

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial

import torch
from PIL import Image
from side_by_side import race, table
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms

from transfer_utils import backbones, machine, training
from transfer_utils.data import TARGETS, ImageSet, splits
from transfer_utils.training import Recipe

OURS = "our loop"
RATE = 1e-3
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
    return backbones.course_resnet(len(photos.classes), seed=0)


def our_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    machine.hold_memory()
    model = fresh(photos)
    training.fit(model, photos, None, 32, Recipe(epochs, RATE, batch=batch), progress=False)
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
    """What a tutorial reads from a folder; here the pictures lie in memory."""

    def __init__(self, photos: ImageSet, transform: Callable):
        self.pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in photos.images]
        self.labels, self.transform = photos.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def tutorial_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    """The loop of https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html, its SGD and its `.item()`."""
    model = fresh(photos)
    steps = [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)]
    loader = DataLoader(Pictures(photos, transforms.Compose(steps)), batch_size=batch, shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
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
    return model


def peers() -> dict[str, Callable]:
    """The libraries that are installed (extra `bench`), each as it comes."""
    loops = {"fastai": fastai_loop, "lightning": lightning_loop, "skorch": skorch_loop}
    for name in loops:
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed, so it is left out: pip install 'transfer_utils[bench]'")
    return {name: loop for name, loop in loops.items() if importlib.util.find_spec(name)}


def tensors(photos: ImageSet, model: backbones.StagedModel) -> TensorDataset:
    return TensorDataset(model.preprocess(photos.images), photos.labels)


def fastai_loop(photos: ImageSet, epochs: int, batch: int) -> nn.Module:
    from fastai.callback import progress, schedule  # noqa: F401  # they give a Learner its methods
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner

    model = fresh(photos)
    ready = tensors(photos, model)
    few = TensorDataset(*ready[:2])
    # Without the worker processes that it starts by itself: with them it took four times as long.
    loaders = DataLoaders.from_dsets(ready, few, bs=batch, num_workers=0)
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
    loader = DataLoader(tensors(photos, model), batch_size=batch, shuffle=True)
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
    x, y = tensors(photos, model).tensors
    how = {"lr": RATE, "max_epochs": epochs, "batch_size": batch, "iterator_train__shuffle": True}
    trained = NeuralNetClassifier(
        model, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.AdamW, train_split=None, verbose=0, **how
    )
    return trained.fit(x, y).module_


if __name__ == "__main__":
    print(main())
