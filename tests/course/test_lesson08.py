"""Lesson 8's checks: answers that are right in other words, and each common mistake with its own hint."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout, linear, nll_loss, one_hot, relu

from transfer_utils.course.exercises import CHECKS
from transfer_utils.course.lesson08_loss import WRONG_LOSSES


def verdict(exercise, answer, capsys) -> str:
    CHECKS[exercise](answer)
    shown = capsys.readouterr().out
    assert shown.count("Right: ") + shown.count("Not yet: ") == 1
    assert ("Hint: " in shown) == shown.startswith("Not yet")
    return shown


def judged(exercise, answer, said, capsys) -> None:
    shown = verdict(exercise, answer, capsys)
    assert said in shown
    assert shown.startswith("Right" if said == "Right" else "Not yet")


# --- the loss of the next token -------------------------------------------------------------------------------------


def loss(logits, tokens, use=cross_entropy, **how):
    """The lesson's solution."""
    return use(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), **how)


def token_by_token(logits, tokens):
    lines, length = tokens.shape
    chances = logits.softmax(2)
    each = [-chances[n, i, tokens[n, i + 1]].log() for n in range(lines) for i in range(length - 1)]
    return sum(each).item() / len(each)


def gathered(logits, tokens):
    return -logits.log_softmax(-1)[:, :-1].gather(2, tokens[:, 1:, None]).mean()


@pytest.mark.parametrize(
    "answer",
    [
        loss,
        token_by_token,
        gathered,
        lambda x, t: cross_entropy(x[:, :-1].transpose(1, 2), t[:, 1:]),
        lambda x, t: nll_loss(x[:, :-1].log_softmax(2).reshape(-1, x.shape[2]), t[:, 1:].reshape(-1)),
        lambda x, t: loss(x.requires_grad_(), t),
        lambda x, t: loss(x, t).item(),
        lambda x, t: loss(x, t, ignore_index=0),
        lambda x, t: loss(x.double(), t),
    ],
)
def test_next_token_loss_in_other_words(answer, capsys):
    judged("8.1", answer, "Right", capsys)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, t: cross_entropy(x.flatten(0, 1), t.flatten()), "guesses the token that stands there.\nHint: a pl"),
        (lambda x, t: cross_entropy(x[:, 1:].flatten(0, 1), t[:, :-1].flatten()), "guesses the token before it.\nHint"),
        (lambda x, t: cross_entropy(x.flatten(0, 1), t.roll(-1, 1).flatten()), "first token of a line is counted"),
        (
            lambda x, t: cross_entropy(x.flatten(0, 1)[:-1], t.flatten()[1:]),
            "line's end guesses the next line's beginning.\nHint: the first",
        ),
        (lambda x, t: loss(x, t, reduction="sum"), "the sum over all guesses"),
        (lambda x, t: loss(x, t, reduction="none"), "returned (8,) for logits (2, 5, 7).\nHint: return one number"),
        (lambda x, t: loss(x, t, reduction="none").tolist(), "returned (8,) for logits (2, 5, 7)"),
        (lambda x, t: [loss(x, t)], "returned (1,) for logits (2, 5, 7)"),
        (lambda x, t: loss(x.softmax(2), t), "softmax came before cross_entropy"),
        (lambda x, t: loss(x, t, lambda y, z: (y.argmax(1) == z).float().mean()), "it is an accuracy"),
        (lambda x, t: -loss(x, t), "the sign is turned round"),
        (lambda x, t: loss(x, t) / math.log(2), "it is in bits"),
        (lambda x, t: loss(x, t).exp(), "it is the perplexity"),
        (lambda x, t: loss(x, t) * len(t), "the sum of the lines' means"),
        (lambda x, t: sum(loss(x[i : i + 1], t[i : i + 1]) for i in range(len(t))), "the sum of the lines' means"),
        (lambda x, t: loss(x, t, reduction="sum") / len(t), "divided by the number of lines"),
        (lambda x, t: loss(x, t, reduction="sum") / t.numel(), "divided by the number of tokens, not of guesses"),
        (
            lambda x, t: loss(x, t, lambda y, z: -(y.log_softmax(1) * one_hot(z, y.shape[1])).mean()),
            "is over all words too",
        ),
        (lambda x, t: loss(x, t, nll_loss), "the logits were taken for logarithms"),
        (lambda x, t: loss(x.softmax(2), t, nll_loss), "the logarithm is missing"),
        (lambda x, t: -loss(x.softmax(2), t, nll_loss), "it is a probability"),
        (lambda x, t: -(-loss(x.softmax(2), t, nll_loss)).log(), "the logarithm came after the mean"),
        (lambda x, t: loss(x.log_softmax(1), t, nll_loss), "the softmax is over the places"),
        (
            lambda x, t: nll_loss(x[:, :-1].log_softmax(1).flatten(0, 1), t[:, 1:].flatten()),
            "over the guesses of a line",
        ),
        (lambda x, t: loss(x, t, lambda y, z: nll_loss(y.log_softmax(0), z)), "the softmax is over all guesses"),
        (lambda x, t: loss(x.log_softmax(0), t, nll_loss), "the softmax is over the lines"),
        (lambda x, t: cross_entropy(x[:-1].flatten(0, 1), t[1:].flatten()), "each line guesses the line after it"),
        (lambda x, t: cross_entropy(x[1:].flatten(0, 1), t[:-1].flatten()), "each line guesses the line before it"),
        (lambda x, t: cross_entropy(x[:, :-2].flatten(0, 1), t[:, 2:].flatten()), "the token after the next one"),
        (lambda x, t: cross_entropy(x[:, 0], t[:, 1]), "only the first guess of each line"),
        (lambda x, t: cross_entropy(x[:, -2], t[:, -1]), "only the last guess of each line"),
        (lambda x, t: cross_entropy(x[:, -1], t[:, -1]), "only the last place is counted"),
        (lambda x, t: cross_entropy(x[:, :-1].reshape(len(x), x.shape[2], -1), t[:, 1:]), "of a guess are mixed up"),
        (lambda x, t: cross_entropy(x[:, :-1].flatten(0, 1), t[:, 1:].T.flatten()), "tokens stand place by place"),
        (
            lambda x, t: cross_entropy(x[:, :-1].transpose(0, 1).flatten(0, 1), t[:, 1:].flatten()),
            "guesses stand place",
        ),
        (lambda x, t: loss(x, t) * torch.nan, "it gave nan; we get"),
        (lambda x, t: loss(x, t) + 1, "on random logits (2, 5, 7) it gave"),
        (lambda x, t: loss(x[:2, :4, :7], t[:2, :4]), "we get "),
        (lambda x, t: cross_entropy(x[:, :-1], t[:, 1:]), "stopped with RuntimeError"),
        (lambda x, t: cross_entropy(x[:, :-1].flatten(0, 1), t.flatten()), "stopped with ValueError"),
        (lambda x, t: loss(x, t, nn.CrossEntropyLoss), "stopped with"),
        (lambda x, t: None, "returned None.\nHint: return the mean cross-entropy"),
        (lambda x, t: ..., "returned Ellipsis"),
        (lambda x, t: "small", "returned 'small'.\nHint: return one number"),
        (lambda x, t: {"loss": loss(x, t)}, "returned dict of 1.\nHint: return one number"),
        (lambda x: 0.0, "stopped with TypeError"),
        (loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, dtype=torch.int64)), "without brackets"),
    ],
)
def test_next_token_loss_gone_wrong(answer, said, capsys):
    judged("8.1", answer, said, capsys)


@pytest.mark.parametrize("hint", WRONG_LOSSES)
def test_no_hint_for_the_loss_is_the_solution(hint):
    assert "[:" not in hint
    assert "flatten(" not in hint


def test_next_token_loss_is_tried_with_two_shapes(capsys):
    def one_shape(logits, tokens):
        return cross_entropy(logits[:, :-1].reshape(8, 7), tokens[:, 1:].reshape(8))

    judged("8.1", one_shape, "stopped with RuntimeError", capsys)


# --- LoRA -----------------------------------------------------------------------------------------------------------


class LoRA(nn.Module):
    """The lesson's solution."""

    def __init__(self, layer, rank, bias=False, up=nn.init.zeros_, down=lambda weight: weight, held=True, scale=1.0):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(not held), scale
        self.down = nn.Linear(layer.in_features, rank, bias=bias)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        down(self.down.weight), up(self.up.weight)

    def forward(self, x):
        return self.layer(x) + self.scale * self.up(self.down(x))


class ByHand(nn.Module):
    """Two parameters; after: what becomes of their product with x."""

    def __init__(self, layer, rank, inputs=None):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, inputs or layer.in_features))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x):
        return self.layer(x) + self.added(x)

    def added(self, x):
        return x @ self.a.T @ self.b.T


def speaking(added, base=ByHand):
    """ByHand with another way to add."""
    return type("Another", (base,), {"added": added})


class InTheWeights(nn.Module):
    """No product of its own: it adds the matrices to a copy of the weights."""

    def __init__(self, layer, rank):
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().clone())
        self.register_buffer("bias", layer.bias.detach().clone())
        self.down = nn.Parameter(torch.zeros(rank, layer.in_features))  # here it is the other one that begins at zero
        self.up = nn.Parameter(torch.randn(layer.out_features, rank))

    def forward(self, x):
        return linear(x, self.weight + self.up @ self.down, self.bias)


class Subclass(nn.Linear):
    """A linear layer of its own with the old weights."""

    def __init__(self, layer, rank):
        super().__init__(layer.in_features, layer.out_features)
        self.load_state_dict(layer.state_dict())
        self.requires_grad_(False)
        self.down, self.up = nn.Linear(self.in_features, rank, False), nn.Linear(rank, self.out_features, False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


class Unregistered(ByHand):
    """Plain tensors, of which parameters() knows nothing."""

    def __init__(self, layer, rank):
        super().__init__(layer, rank)
        for name in "ab":
            value = getattr(self, name).detach().requires_grad_()
            delattr(self, name)
            self.__dict__[name] = value


class InPlace(ByHand):
    """Puts the product into the layer's own weights, in every forward."""

    def forward(self, x):
        with torch.no_grad():
            self.layer.weight += self.b @ self.a
        return self.layer(x) + self.added(x)


def replaces_forward(layer, rank):
    """The old layer speaks through the new one from now on."""
    made, old = ByHand(copy.deepcopy(layer), rank), layer.forward
    layer.forward = lambda x: old(x) + made.added(x)
    return made


def chain(layer, between, rank):
    """One after the other, where the product should stand beside the layer."""
    down, up = nn.Linear(between, rank, bias=False), nn.Linear(rank, layer.out_features, bias=False)
    return nn.Sequential(layer, down, up)


def spoils_weights(layer, rank):
    with torch.no_grad():
        layer.weight.mul_(2)
    return LoRA(layer, rank)


def only_zero_and_frozen(layer, rank):
    return LoRA(layer, rank).requires_grad_(False)


def forgets_the_bias(layer, rank):
    made = LoRA(layer, rank)
    layer.bias.requires_grad_(True)
    return made


class WithoutGradients(ByHand):
    """Holds the layer still by cutting off all that lies before it."""

    def forward(self, x):
        with torch.no_grad():
            base = self.layer(x)
        return base + self.added(x)


class NoForward(ByHand):
    forward = nn.Module.forward


@pytest.mark.parametrize(
    "answer",
    [
        LoRA,
        ByHand,
        InTheWeights,
        Subclass,
        lambda layer, rank: LoRA(layer, rank, scale=16 / rank),
        lambda layer, rank: LoRA(copy.deepcopy(layer), rank),
        lambda layer, rank: LoRA(layer, rank, up=nn.init.normal_, down=nn.init.zeros_),
        lambda layer, rank: LoRA(layer, rank, down=lambda weight: nn.init.normal_(weight, std=0.02)),
        speaking(lambda self, x: dropout(x, 0.5, self.training) @ self.a.T @ self.b.T),
        speaking(lambda self, x: torch.einsum("nli,ri,or->nlo", x, self.a, self.b)),
    ],
)
def test_lora_in_other_words(answer, capsys):
    judged("8.2", answer, "Right", capsys)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda layer, rank: LoRA(layer, rank, up=lambda weight: weight), "the product is not zero yet"),
        (lambda layer, rank: LoRA(layer, rank, True, up=lambda weight: weight), "the product is not zero yet"),
        (lambda layer, rank: chain(layer, layer.out_features, rank), "up to 1.8.\nHint: layer and product stand side"),
        (
            lambda layer, rank: chain(layer, layer.in_features, rank),
            "stopped with: mat1 and mat2 shapes cannot be mult",
        ),
        (lambda layer, rank: chain(layer, layer.in_features, rank), "Hint: layer and product stand side by side"),
        (lambda layer, rank: nn.Sequential(*chain(layer, layer.in_features, rank)[1:]), "Hint: layer and product st"),
        (lambda layer, rank: LoRA(layer, rank, down=nn.init.zeros_), "still says what the layer says.\nHint: only one"),
        (lambda layer, rank: LoRA(layer, rank, held=False), "the layer's own weights still train"),
        (lambda layer, rank: ByHand(layer, rank, layer.out_features), "from 6 to 10 and rank 3, it stopped with: mat1"),
        (speaking(lambda self, x: x @ self.b.T @ self.a.T), "the first matrix goes from the inputs to rank"),
        (lambda layer, rank: LoRA(layer, 4), "64 numbers train; with rank 3, 6 inputs and 10 outputs it should be 48"),
        (lambda layer, rank: LoRA(layer, layer.in_features), "96 numbers train; with rank 3"),
        (lambda layer, rank: LoRA(layer, 1), "16 numbers train; with rank 3"),
        (lambda layer, rank: LoRA(layer, rank, bias=True), "a bias trains"),
        (forgets_the_bias, "a bias trains"),
        (lambda layer, rank: layer, "add_lora returned the layer itself"),
        (lambda layer, rank: copy.deepcopy(layer), "the layer's own weights still train"),
        (lambda layer, rank: copy.deepcopy(layer).requires_grad_(False), "nothing in it trains"),
        (lambda layer, rank: LoRA, "add_lora returned the class LoRA.\nHint: return an object of it"),
        (lambda layer, rank: LoRA(layer, rank).forward, "add_lora returned a method"),
        (lambda layer, rank: (layer, rank), "add_lora returned a tuple"),
        (type("Forgets", (ByHand,), {"forward": ByHand.added}), "it says zero everywhere.\nHint: forward adds"),
        (InPlace, "the layer itself has changed"),
        (replaces_forward, "the layer itself has changed"),
        (spoils_weights, "the layer itself has changed"),
        (only_zero_and_frozen, "the small matrices are frozen too.\nHint: freeze the layer alone"),
        (Unregistered, "nothing in it trains.\nHint: keep each matrix"),
        (speaking(lambda self, x: x @ self.a.detach().T @ self.b.detach().T), "no gradient reaches the matrices"),
        (WithoutGradients, "no gradient goes through the layer to what stands before it.\nHint: freeze its weights"),
        (speaking(lambda self, x: (self.b @ self.a).sum()), "is no product of x and two matrices"),
        (speaking(lambda self, x: relu(x @ self.a.T) @ self.b.T), "is no product of x and two matrices"),
        (speaking(lambda self, x: x @ self.a.T @ self.b.T * torch.nan), "differs from the layer by up to nan"),
        (type("Pooled", (ByHand,), {"forward": lambda self, x: self.layer(x).mean(1)}), "is (2, 10); the layer's is"),
        (NoForward, "the class NoForward has no forward.\nHint: write def forward(self, x) inside the class"),
        (lambda layer, rank: nn.ModuleList([layer]), "the class ModuleList has no forward"),
        (speaking(lambda self, x: nn.Module().forward(x)), "stopped with NotImplementedError"),
        (type("Crash", (ByHand,), {"forward": lambda self, x: self.no_such_thing}), "stopped with AttributeError"),
        (type("Silent", (ByHand,), {"forward": lambda self, x: None}), "its forward returned None.\nHint: let forward"),
        (type("Pair", (ByHand,), {"forward": lambda self, x: (x, x)}), "its forward returned tuple of 2"),
        (
            type("NoX", (ByHand,), {"forward": lambda self: self.a}),
            "it called NoX(Linear, 3), and cannot use what came",
        ),
        (lambda layer, rank: None, "returned None.\nHint: return a module"),
        (lambda layer: layer, "stopped with TypeError"),
        (3, "without brackets"),
    ],
)
def test_lora_gone_wrong(answer, said, capsys):
    judged("8.2", answer, said, capsys)


# --- leaks ----------------------------------------------------------------------------------------------------------


def plain(line):
    return line.lower().strip().rstrip(".,;:!?")


def leaked(pretraining, test, same=plain):
    """The lesson's solution."""
    read = {same(line) for line in pretraining}
    return [line for line in test if same(line) in read]


def with_loops(pretraining, test):
    found = []
    for line in test:
        for other in pretraining:
            if line.strip(" .,;").casefold() == other.strip(" .,;").casefold():
                found.append(line)
                break
    return found


def a_part_of(pretraining, test):
    return [line for line in test if any(plain(line) in plain(other) for other in pretraining)]


def has_a_part(pretraining, test):
    return [line for line in test if any(plain(other) in plain(line) for other in pretraining)]


def mask(pretraining, test):
    return [line in leaked(pretraining, test) for line in test]


@pytest.mark.parametrize(
    "answer",
    [
        leaked,
        with_loops,
        lambda pretraining, test: tuple(leaked(pretraining, test)),
        lambda pretraining, test: leaked(pretraining, test, lambda line: line.upper().rstrip(".,; ").lstrip()),
        lambda pretraining, test: leaked(pretraining, test, lambda line: line.lower().strip(" .,;:!?")),
    ],
)
def test_leaked_in_other_words(answer, capsys):
    judged("8.3", answer, "Right", capsys)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda p, t: leaked(p, t, lambda line: line), "'A Large Body of Salt Water' is missing; pretraining has 'a l"),
        (lambda p, t: leaked(p, t, lambda line: line), "Hint: they differ in capital letters: make both alike"),
        (lambda p, t: leaked(p, t, str.lower), "'  a person who bakes bread ' is missing; pretraining has 'a person"),
        (lambda p, t: leaked(p, t, str.lower), "Hint: they differ in spaces around them:"),
        (lambda p, t: leaked(p, t, lambda line: line.lower().strip()), "Hint: they differ in ';' at the end:"),
        (lambda p, t: leaked(p, t, lambda line: line.lower().strip().rstrip(".;")), "they differ in ',' at the end:"),
        (lambda p, t: leaked(p, t, lambda line: line.lower().strip().rstrip(",;")), "in capital letters and '.' at t"),
        (lambda p, t: leaked(p, t, lambda x: x.lower().rstrip(".,;")), "'  a person who bakes bread ' is missing"),
        (lambda p, t: leaked(p, t, lambda x: x.strip().rstrip(".,;")), "they differ in capital letters:"),
        (lambda p, t: [line for line in t if plain(line) in p], "'the act of writing a letter' is missing"),
        (
            lambda p, t: [],
            "'a bird that sings at night' is missing; pretraining has 'a bird that sings at night'.\nHint: the",
        ),
        (lambda p, t: t, "'a small insect with six legs' is in it, and pretraining has no such line.\nHint: leave out"),
        (lambda p, t: [x for x in t if x not in leaked(p, t)], "the answer is turned round.\nHint: keep the lines"),
        (lambda p, t: [x for x in t if x not in p], "the answer is turned round"),
        (lambda p, t: set(t) - set(leaked(p, t)), "the answer is turned round"),
        (
            lambda p, t: leaked(p, t) + t[3:4],
            "pretraining has no such line, only 'a person who bakes bread'.\nHint: a part",
        ),
        (a_part_of, "'a person who bakes' is in it"),
        (has_a_part, "'a bird that sings at night and sleeps by day' is in it"),
        (lambda p, t: [i for i, x in enumerate(t) if x in leaked(p, t)], "it returned [1, 2, 4, 6, 7, 8, 9]"),
        (mask, "it returned [False, True, True, False"),
        (lambda p, t: torch.tensor(mask(p, t)), "return the lines themselves, as they stand in test"),
        (lambda p, t: leaked(t, p), "'a tall plant with a woody stem' is no line of test"),
        (
            lambda p, t: [plain(line) for line in leaked(p, t)],
            "'a large body of salt water' is no line of test, but 'A Large",
        ),
        (lambda p, t: list(map(plain, leaked(p, t))), "return test's own, unchanged"),
        (lambda p, t: len(leaked(p, t)), "it returned 7"),
        (lambda p, t: torch.tensor(6), "stopped with TypeError"),
        (lambda p, t: len(leaked(p, t)) / len(t), "it returned 0.58"),
        (
            lambda p, t: (line for line in leaked(p, t)),
            "it returned a generator, which is gone once it is read.\nHint: ret",
        ),
        (
            lambda p, t: leaked(p, t, lambda line: "".join(filter(str.isalpha, line.lower()))),
            "no such line, only 'the re-creation of an old dance'.\nHint: inside a line, marks and spaces count",
        ),
        (
            lambda p, t: leaked(p, t, lambda line: plain(line).replace(" ", "")),
            "only 'a green house by the sea'.\nHint",
        ),
        (lambda p, t: bool(leaked(p, t)), "it returned True"),
        (lambda p, t: leaked(p, t)[0], "it returned 'the act of writing a letter'"),
        (
            lambda p, t: list(dict.fromkeys(leaked(p, t))),
            "stands in test twice, and in the answer once.\nHint: a set",
        ),
        (lambda p, t: set(leaked(p, t)), "'a bird that sings at night' stands in test twice, and in the answer once"),
        (lambda p, t: sorted(leaked(p, t)), "the lines are right, their order is not"),
        (lambda p, t: leaked(p, t) * 2, "in test once, and in the answer twice.\nHint: go through test alone"),
        (lambda p, t: "leaked", "it returned 'leaked'.\nHint: return the lines themselves"),
        (lambda p, t: list(pairwise(leaked(p, t))), "return the lines themselves"),
        (lambda p, t: None, "returned None.\nHint: return a list of lines"),
        (lambda p, t: p.lower(), "stopped with AttributeError"),
    ],
)
def test_leaked_gone_wrong(answer, said, capsys):
    judged("8.3", answer, said, capsys)
