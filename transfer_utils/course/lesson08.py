"""Lesson 8: its checks and its quiz."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from transfer_utils import machine
from transfer_utils.course.checking import NotYet, Question, checked, filled

RANK, INPUTS, OUTPUTS = 3, 6, 10


@checked
def next_token_loss(answer: Callable) -> str:
    """The learner's next_token_loss(logits, tokens) holds each place's guess against the token after it."""
    generator = torch.Generator().manual_seed(0)
    for lines, length, words in ((2, 5, 7), (3, 4, 9)):
        logits = 2 * torch.randn(lines, length, words, generator=generator)
        tokens = torch.randint(2, words, (lines, length), generator=generator)  # no padding among them
        found = answer(logits.clone(), tokens.clone())
        filled(found, answer, "return the mean cross-entropy, one number.")
        found = torch.as_tensor(found).detach().cpu()
        if found.ndim:
            raise NotYet(
                f"next_token_loss returned {tuple(found.shape)} for logits {tuple(logits.shape)}.",
                "return one number: cross_entropy takes the mean over all guesses by itself.",
            )
        _explain_loss(float(found), logits, tokens)
    return "each place is judged by the token after it, and the last place by none."


def _explain_loss(found: float, logits: Tensor, tokens: Tensor) -> None:
    """Raise NotYet unless this is the mean over all guesses, with a hint for each usual mistake."""
    guesses, targets = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    expected = cross_entropy(guesses, targets).item()
    mistakes = {**_wrong_shifts(logits, tokens), **_wrong_losses(guesses, targets)}
    for seen, (wrong, hint) in mistakes.items():
        if math.isclose(found, float(wrong), abs_tol=1e-4):
            raise NotYet(f"{seen}.", hint)
    if not math.isclose(found, expected, abs_tol=1e-4):
        raise NotYet(
            f"on random logits {tuple(logits.shape)} it gave {found:.4f}; we get {expected:.4f}.",
            "cross_entropy(guesses.flatten(0, 1), targets.flatten()), with logits[:, :-1] and tokens[:, 1:].",
        )


def _wrong_shifts(logits: Tensor, tokens: Tensor) -> dict[str, tuple[Tensor, str]]:
    """What was seen, with the number that it gives, and a hint."""
    places, row = logits.flatten(0, 1), tokens.flatten()
    back, around = logits[:, 1:].flatten(0, 1), logits.roll(1, 1).flatten(0, 1)
    shift = "a place guesses the token after it: logits[:, :-1] against tokens[:, 1:]."
    first = "nothing stands before a first token, so no guess is about it: tokens[:, 1:]."
    return {
        "each place guesses the token that stands there": (cross_entropy(places, row), shift),
        "each place guesses the token before it": (cross_entropy(back, tokens[:, :-1].flatten()), shift),
        "the first token of a line is counted": (cross_entropy(around, row), first),
        "one line's end guesses the next line's beginning": (
            cross_entropy(places[:-1], row[1:]),
            "shift inside each line first, then flatten.",
        ),
    }


def _wrong_losses(guesses: Tensor, targets: Tensor) -> dict[str, tuple[Tensor, str]]:
    loss, soft = cross_entropy(guesses, targets), cross_entropy(guesses.softmax(1), targets)
    right = (guesses.argmax(1) == targets).float().mean()
    return {
        "it is the sum over all guesses": (loss * len(targets), "take the mean, as cross_entropy does by itself."),
        "softmax came before cross_entropy": (soft, "cross_entropy has a softmax inside: give it the logits."),
        "it is an accuracy": (right, "we want the loss: how unlikely the model found each true token."),
        "the sign is turned round": (-loss, "a loss is above zero: minus the logarithm of a probability."),
    }


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
    if not isinstance(made, nn.Module) or made is layer:
        what = "the layer itself" if made is layer else f"a {type(made).__name__}"
        raise NotYet(f"add_lora returned {what}.", "return an nn.Module of your own, which keeps the layer inside.")
    made.eval()  # an answer may have dropout
    _starts_as_the_layer(made, x, expected)
    trained = [weight for weight in made.parameters() if weight.requires_grad]
    _few_train(trained, layer)
    _learn(made, trained, x)
    if not torch.allclose(layer(x), expected, atol=1e-5):
        raise NotYet("the layer itself has changed.", "leave it as it is: only your module adds the product.")
    _adds_a_product(made, x, layer)
    return f"it starts as the layer, and only {RANK} * ({INPUTS} + {OUTPUTS}) numbers learn."


def _said(made: nn.Module, x: Tensor) -> Tensor:
    """What the learner's module says, with the shapes in sight where they do not fit."""
    try:
        return made(x.clone())
    except NotImplementedError:  # it has no forward
        raise
    except RuntimeError as error:
        raise NotYet(
            f"for x {tuple(x.shape)}, a layer from {INPUTS} to {OUTPUTS} and rank {RANK}, it stopped with: {error}.",
            "the first matrix goes from the inputs to rank, the second from rank to the outputs: up(down(x)).",
        ) from error


def _starts_as_the_layer(made: nn.Module, x: Tensor, expected: Tensor) -> None:
    found = torch.as_tensor(_said(made, x)).detach()
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
            "forward is layer(x) plus the product, and one of the two matrices begins at zero.",
        )


def _few_train(trained: list[nn.Parameter], layer: nn.Linear) -> None:
    count, wanted = sum(weight.numel() for weight in trained), RANK * (INPUTS + OUTPUTS)
    if any(weight.shape == layer.weight.shape for weight in trained):
        raise NotYet("the layer's own weights still train.", "layer.requires_grad_(False)")
    if count and any(weight.ndim == 1 for weight in trained):
        raise NotYet("a bias trains.", "bias=False in the small matrices, and layer.requires_grad_(False) for its own.")
    if count == 0:
        raise NotYet("nothing in it trains.", "keep each matrix as self.name: an nn.Linear, or an nn.Parameter.")
    if count != wanted:
        raise NotYet(
            f"{count} numbers train; with rank {RANK}, {INPUTS} inputs and {OUTPUTS} outputs it should be {wanted}.",
            "one matrix has rank * inputs numbers, the other one outputs * rank.",
        )


def _learn(made: nn.Module, trained: list[nn.Parameter], x: Tensor) -> None:
    optimiser = torch.optim.AdamW(trained, lr=0.01)
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


PRETRAINING = (
    "a tall plant with a woody stem",
    "a bird that sings at night",
    "The act of writing a letter.",
    "a person who bakes bread",
    "a large body of salt water",
)
TEST = (  # each line, and whether pretraining has read it
    ("a small insect with six legs", False),
    ("the act of writing a letter", True),
    ("a bird that sings at night", True),
    ("a person who bakes", False),
    ("A Large Body of Salt Water", True),
    ("a bird that sings at night and sleeps by day", False),
    ("  a person who bakes bread ", True),
    ("a tall plant with a woody stem;", True),
    ("a bird that sings at night", True),
)


@checked
def leaked(answer: Callable) -> str:
    """The learner's leaked(pretraining, test) finds the test lines that pretraining has read, but for small marks."""
    test, expected = [line for line, _ in TEST], [line for line, read in TEST if read]
    found = answer(list(PRETRAINING), list(test))
    filled(found, answer, "return a list of lines.")
    if isinstance(found, str | int | float):
        raise NotYet(f"it returned {found!r}.", "return the lines themselves, in a list.")
    found = list(found)
    if not all(isinstance(line, str) for line in found):
        raise NotYet(f"it returned {found}.", "return the lines themselves: [line for line in test if ...].")
    _explain_lines(found, test, expected)
    return "every line that pretraining has read, in whatever dress, and no other one."


def _explain_lines(found: list[str], test: list[str], expected: list[str]) -> None:
    """Raise NotYet unless these are the lines that were read, with a hint for each usual mistake."""
    if strange := [line for line in found if line not in test]:
        raise NotYet(f"{strange[0]!r} is no line of test.", "compare changed lines, and return test's own, unchanged.")
    if extra := [line for line in found if line not in expected]:
        raise NotYet(
            f"{extra[0]!r} is in it, and pretraining has no such line.",
            "keep a line where the whole of it equals a whole line of pretraining, not a part.",
        )
    if missing := [line for line in expected if line not in found]:
        raise NotYet(
            f"{missing[0]!r} is missing.",
            "compare in lower case, without outer spaces and final punctuation: line.lower().strip().rstrip('.;!?')",
        )
    if found != expected:
        raise NotYet(
            f"the lines are right, but there are {len(found)} of {len(expected)}, or in another order.",
            "go through test once, and keep each line that was read, as often as it stands there.",
        )


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
        "Reading definitions helped with their topics. With film reviews we cannot see that it did. What fits?",
        (
            ("Reviews are no language that a GPT can learn.", "One that had read reviews would have met their words."),
            ("Its source is near the one task, far from the other.", "It fits. To show it takes a second source."),
            ("Pretraining does nothing for reviews.", "We cannot see it, which is less: look at the interval."),
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
