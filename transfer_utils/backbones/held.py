"""Modules that stay in eval mode whoever calls train(): frozen stages, and batch-norms whose statistics are held."""

from torch import nn


def is_held(module: nn.Module) -> bool:
    """Whether this module is to stay in eval mode. A plain attribute, so that copies and saved models have it too."""
    return module.__dict__.get("held", False)


def hold(module: nn.Module) -> None:
    """Keep a module in eval mode from now on."""
    module.__dict__["held"] = True
    module.eval()


def let_go(module: nn.Module, training: bool) -> None:
    """Let a held module follow train() and eval() again; batch-norms in it that are held themselves stay so."""
    if module.__dict__.pop("held", False):
        module.train(training)
        eval_held(module)


def eval_held(module: nn.Module) -> None:
    """Put what is held in a module back into eval mode."""
    for held in filter(is_held, module.modules()):
        for part in held.modules():
            if part.training:
                part.training = False
