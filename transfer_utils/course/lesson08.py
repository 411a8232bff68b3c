"""Lesson 8: its checks, two of them in files of their own, and its quiz."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transfer_utils import machine
from transfer_utils.course.checking import NotYet, Question, checked, described, filled
from transfer_utils.course.lesson08_leak import leaked
from transfer_utils.course.lesson08_loss import next_token_loss

RANK, INPUTS, OUTPUTS = 3, 6, 10
DOWN_AND_UP = (
    "the first matrix goes from the inputs to rank, the second from rank to the outputs: layer(x) + up(down(x))."
)
SIDE_BY_SIDE = "layer and product stand side by side, both of x: forward returns layer(x) + up(down(x))."


@checked
def lora(answer: Callable) -> str:
    """The learner's add_lora(layer, rank) puts a LoRA around a linear layer, which itself stays as it is."""
    generator = machine.generator(8)
    with machine.draws_from(generator):
        layer = nn.Linear(INPUTS, OUTPUTS)
    x = torch.randn(2, 4, INPUTS, generator=generator)
    expected = layer(x).detach()
    made = answer(layer, RANK)
    filled(made, answer, "return a module, with the layer and two small matrices in it.")
    _is_a_module(made, layer)
    made.eval()  # an answer may have dropout
    _keeps_the_layer(layer, x, expected)
    _starts_as_the_layer(made, layer, x, expected)
    _lets_gradients_through(made, layer, x)
    _few_train(made, layer)
    _learn(made, x)
    _keeps_the_layer(layer, x, expected)
    _adds_a_product(made, x, layer)
    return f"it starts as the layer, and only {RANK} * ({INPUTS} + {OUTPUTS}) numbers learn."


def _is_a_module(made: object, layer: nn.Linear) -> None:
    if isinstance(made, type):
        raise NotYet(f"add_lora returned the class {made.__name__}.", "return an object of it: call it with the layer.")
    if not isinstance(made, nn.Module) or made is layer:
        what = "the layer itself" if made is layer else f"a {type(made).__name__}"
        raise NotYet(f"add_lora returned {what}.", "return an nn.Module of your own, which keeps the layer inside.")
    if getattr(made.forward, "__func__", None) is nn.Module.forward:
        raise NotYet(
            f"the class {type(made).__name__} has no forward.",
            "write def forward(self, x) inside the class, beside __init__ and not within it.",
        )


def _keeps_the_layer(layer: nn.Linear, x: Tensor, expected: Tensor) -> None:
    if not torch.allclose(layer(x), expected, atol=1e-5):
        raise NotYet("the layer itself has changed.", "leave it as it is: only your module adds the product.")


def _said(made: nn.Module, x: Tensor) -> Tensor:
    """What the learner's module says, with the shapes in sight where they do not fit."""
    try:
        found = made(x.clone())
    except RuntimeError as error:
        if "shape" not in str(error) and "size" not in str(error):
            raise
        raise NotYet(
            f"for x {tuple(x.shape)}, a layer from {INPUTS} to {OUTPUTS} and rank {RANK}, it stopped with: {error}.",
            SIDE_BY_SIDE if isinstance(made, nn.Sequential) else DOWN_AND_UP,
        ) from error
    if not isinstance(found, Tensor):
        raise NotYet(f"its forward returned {described(found)}.", "let forward return the sum, one tensor.")
    return found


def _starts_as_the_layer(made: nn.Module, layer: nn.Linear, x: Tensor, expected: Tensor) -> None:
    found = _said(made, x).detach()
    if found.shape != expected.shape:
        raise NotYet(
            f"its output for x {tuple(x.shape)} is {tuple(found.shape)}; the layer's is {tuple(expected.shape)}.",
            "its forward adds two things of one shape: layer(x) and up(down(x)).",
        )
    if not found.any():
        raise NotYet("at the start it says zero everywhere.", "forward adds the product to layer(x).")
    if not torch.allclose(found, expected, atol=1e-5):
        raise NotYet(
            f"at the start it differs from the layer by up to {(found - expected).abs().max():.2g}.",
            _why_it_differs(made, layer, x, expected),
        )


def _lets_gradients_through(made: nn.Module, layer: nn.Linear, x: Tensor) -> None:
    """Raise NotYet where what stands before the layer would learn nothing through it."""
    if not torch.allclose(_gradient(made, x), _gradient(layer, x), atol=1e-5):
        raise NotYet(
            "no gradient goes through the layer to what stands before it.",
            "freeze its weights, layer.requires_grad_(False), and call it without no_grad or detach.",
        )


def _gradient(module: nn.Module, x: Tensor) -> Tensor:
    """What x would learn from the sum of the module's output; zero where nothing comes back."""
    asked = x.clone().requires_grad_()
    said = module(asked).sum()
    return torch.autograd.grad(said, asked, materialize_grads=True)[0] if said.requires_grad else torch.zeros_like(x)


@torch.no_grad()
def _why_it_differs(made: nn.Module, layer: nn.Linear, x: Tensor, expected: Tensor) -> str:
    """A hint: only its numbers are wrong where it says what the layer says as soon as they are zero."""
    for weight in _added(made, layer):
        weight.zero_()
    if torch.allclose(_said(made, x), expected, atol=1e-5):
        return "the product is not zero yet: let one of the two matrices begin at zero."
    return SIDE_BY_SIDE


def _added(made: nn.Module, layer: nn.Linear) -> set[nn.Parameter]:
    """The weights in it that are neither the layer's nor copies of them."""
    given = list(layer.parameters())
    return {weight for weight in made.parameters() if not any(torch.equal(weight, old) for old in given)}


def _few_train(made: nn.Module, layer: nn.Linear) -> None:
    trained, added = {weight for weight in made.parameters() if weight.requires_grad}, _added(made, layer)
    count, wanted = sum(weight.numel() for weight in trained), RANK * (INPUTS + OUTPUTS)
    if any(weight.ndim > 1 for weight in trained - added):
        raise NotYet("the layer's own weights still train.", "layer.requires_grad_(False)")
    if any(weight.ndim == 1 for weight in trained):
        raise NotYet("a bias trains.", "bias=False in the small matrices, and layer.requires_grad_(False) for its own.")
    if added and not trained:
        raise NotYet("the small matrices are frozen too.", "freeze the layer alone, not the module that holds it.")
    if not trained:
        raise NotYet("nothing in it trains.", "keep each matrix as self.name: an nn.Linear, or an nn.Parameter.")
    if count != wanted:
        raise NotYet(
            f"{count} numbers train; with rank {RANK}, {INPUTS} inputs and {OUTPUTS} outputs it should be {wanted}.",
            "one matrix has rank * inputs numbers, the other one outputs * rank.",
        )


def _learn(made: nn.Module, x: Tensor) -> None:
    optimiser = torch.optim.AdamW([weight for weight in made.parameters() if weight.requires_grad], lr=0.01)
    for _ in range(20):
        loss = (_said(made, x) - 1).square().mean()
        if not loss.requires_grad:
            raise NotYet("no gradient reaches the matrices.", "forward uses both of them, without no_grad or detach.")
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()


@torch.no_grad()
def _adds_a_product(made: nn.Module, x: Tensor, layer: nn.Linear) -> None:
    """Raise NotYet unless what it adds is no longer zero, and turns round where x does."""
    added, turned = (_said(made, part) - layer(part) for part in (x, -x))
    if torch.allclose(added, torch.zeros_like(added), atol=1e-5):
        raise NotYet(
            "after 20 steps it still says what the layer says.",
            "only one matrix begins at zero. Where both do, each waits for the other: no gradient.",
        )
    if not torch.allclose(turned, -added, atol=1e-3):
        raise NotYet("what it adds is no product of x and two matrices.", "up(down(x)), and nothing between them.")


QUIZ = (
    Question(
        "Which labels does pretraining on plain text need?",
        (
            ("The topic of every line.", "Topics come later, with the new task. Pretraining never sees one."),
            ("None by hand: the next word is the label.", "Every place in every line asks, and the text answers."),
            ("The part of speech of every word.", "Nobody tells the network. What it needs of it, it must find."),
        ),
        1,
    ),
    Question(
        "Reading definitions helped much with their topics, and hardly with film reviews. What fits?",
        (
            ("Reviews are no language that a GPT can learn.", "One that had read reviews would have met their words."),
            ("Its source is near the one task, far from the other.", "It fits. To show it takes a second source."),
            ("Pretraining does nothing for reviews.", "MiniLM was pretrained too, and is far ahead on them."),
        ),
        1,
    ),
    Question(
        "LoRA trains two small matrices beside a frozen layer. What does it not save?",
        (
            ("Memory of the optimiser.", "It keeps its numbers only for weights that train: here, few."),
            ("Room on disk for each task.", "The backbone is stored once; a task adds its small matrices."),
            ("The forward pass.", "Every frozen layer still computes, and the product comes on top."),
        ),
        2,
    ),
)

CHECKS = {"8.1": next_token_loss, "8.2": lora, "8.3": leaked}
