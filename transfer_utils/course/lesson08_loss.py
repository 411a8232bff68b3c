"""The check of exercise 8.1, the loss of the next token, and what each usual mistake makes of it."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from transfer_utils.course.checking import NotYet, checked, described, filled


@checked
def next_token_loss(answer: Callable) -> str:
    """The learner's next_token_loss(logits, tokens) holds each place's guess against the token after it."""
    generator = torch.Generator().manual_seed(0)
    for lines, length, words in ((2, 5, 7), (3, 6, 9)):
        logits = 2 * torch.randn(lines, length, words, generator=generator)
        tokens = torch.randint(2, words, (lines, length), generator=generator)  # no padding among them
        found = answer(logits.clone(), tokens.clone())
        filled(found, answer, "return the mean cross-entropy, one number.")
        _explain_loss(_one_number(found, logits), logits, tokens)
    return "each place is judged by the token after it, and the last place by none."


def _one_number(found: object, logits: Tensor) -> float:
    try:
        value = torch.as_tensor(found).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotYet(f"next_token_loss returned {described(found)}.", "return one number, the mean loss.") from error
    if value.ndim:
        raise NotYet(
            f"next_token_loss returned {tuple(value.shape)} for logits {tuple(logits.shape)}.",
            "return one number: cross_entropy takes the mean over all guesses by itself.",
        )
    return float(value)


def _explain_loss(found: float, logits: Tensor, tokens: Tensor) -> None:
    """Raise NotYet unless this is the mean over all guesses, with a hint for each usual mistake."""
    expected = float(_right(logits, tokens))
    if math.isclose(found, expected, abs_tol=1e-4):
        return
    for hint, mistakes in WRONG_LOSSES.items():
        for seen, wrong in mistakes.items():
            if math.isclose(found, float(wrong(logits, tokens)), abs_tol=1e-4):
                raise NotYet(f"{seen}.", hint)
    lines, length, _ = logits.shape
    raise NotYet(
        f"on random logits {tuple(logits.shape)} it gave {found:.4f}; we get {expected:.4f}.",
        f"{lines} lines of {length} tokens make {lines} * {length - 1} guesses: place 0 guesses token 1, and so on.",
    )


def _mean(logits: Tensor, tokens: Tensor) -> Tensor:
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens.flatten())


def _right(logits: Tensor, tokens: Tensor) -> Tensor:
    return _mean(logits[:, :-1], tokens[:, 1:])


def _of_next(values: Tensor, tokens: Tensor) -> Tensor:
    """What each place but the last has at the token after it, (N, L - 1, 1). values may lack the last place already."""
    return values[:, : tokens.shape[1] - 1].gather(2, tokens[:, 1:, None])


def _cut_anew(logits: Tensor) -> Tensor:
    """(N, V, L - 1), as cross_entropy also takes it, but by reshape where transpose belongs."""
    return logits[:, :-1].reshape(len(logits), logits.shape[2], -1)


def _over_all(logits: Tensor) -> Tensor:
    """Logarithms of a softmax over all guesses at once, as log_softmax(0) gives after flatten."""
    return logits[:, :-1].flatten(0, 1).log_softmax(0).unflatten(0, (len(logits), -1))


WRONG_LOSSES: dict[str, dict[str, Callable[[Tensor, Tensor], Tensor]]] = {  # a hint, and what was seen with its number
    "a place guesses the token after it. Which place says something about token 1?": {
        "each place guesses the token that stands there": _mean,
        "each place guesses the token before it": lambda x, t: _mean(x[:, 1:], t[:, :-1]),
        "each place guesses the token after the next one": lambda x, t: _mean(x[:, :-2], t[:, 2:]),
    },
    "nothing stands before a first token, so no guess is about it: leave it out.": {
        "the first token of a line is counted": lambda x, t: _mean(x.roll(1, 1), t),
    },
    "the first dimension is the lines, the second one the places. Shift along the places alone, then flatten.": {
        "one line's end guesses the next line's beginning": lambda x, t: _mean(x.flatten(0, 1)[:-1], t.flatten()[1:]),
        "each line guesses the line after it": lambda x, t: _mean(x[:-1], t[1:]),
        "each line guesses the line before it": lambda x, t: _mean(x[1:], t[:-1]),
    },
    "every place but the last one makes a guess: take them all.": {
        "only the first guess of each line is counted": lambda x, t: _mean(x[:, 0], t[:, 1]),
        "only the last guess of each line is counted": lambda x, t: _mean(x[:, -2], t[:, -1]),
        "only the last place is counted, and guesses its own token": lambda x, t: _mean(x[:, -1], t[:, -1]),
    },
    "take the mean over all guesses at once, as cross_entropy does by itself.": {
        "it is the sum over all guesses": lambda x, t: _right(x, t) * t[:, 1:].numel(),
        "it is the sum of the lines' means": lambda x, t: _right(x, t) * len(t),
        "the sum is divided by the number of lines": lambda x, t: _right(x, t) * t[0, 1:].numel(),
        "the sum is divided by the number of tokens, not of guesses": lambda x, t: _right(x, t) * (1 - 1 / len(t[0])),
        "the mean is over all words too": lambda x, t: _right(x, t) / x.shape[2],
    },
    "each place chooses among the words, the last dimension: there its softmax belongs.": {
        "the softmax is over the places": lambda x, t: -_of_next(x.log_softmax(1), t).mean(),
        "the softmax is over the guesses of a line": lambda x, t: -_of_next(x[:, :-1].log_softmax(1), t).mean(),
        "the softmax is over all guesses": lambda x, t: -_of_next(_over_all(x), t).mean(),
        "the softmax is over the lines": lambda x, t: -_of_next(x.log_softmax(0), t).mean(),
    },
    "cross_entropy has softmax and logarithm inside: give it the logits. nll_loss has neither.": {
        "softmax came before cross_entropy": lambda x, t: _right(x.softmax(2), t),
        "the logits were taken for logarithms of probabilities": lambda x, t: -_of_next(x, t).mean(),
        "the logarithm is missing": lambda x, t: -_of_next(x.softmax(2), t).mean(),
    },
    "reshape and flatten only cut anew, transpose turns: guesses and tokens must lie in the same order.": {
        "the words of a guess are mixed up": lambda x, t: cross_entropy(_cut_anew(x), t[:, 1:]),
        "the tokens stand place by place, the guesses line by line": lambda x, t: _mean(x[:, :-1], t[:, 1:].T),
        "the guesses stand place by place, the tokens line by line": lambda x, t: _mean(
            x[:, :-1].transpose(0, 1), t[:, 1:]
        ),
    },
    "we want the loss: the mean of minus the natural logarithm of each true token's probability.": {
        "it is an accuracy": lambda x, t: (x[:, :-1].argmax(2) == t[:, 1:]).float().mean(),
        "it is a probability": lambda x, t: _of_next(x.softmax(2), t).mean(),
        "the logarithm came after the mean": lambda x, t: -_of_next(x.softmax(2), t).mean().log(),
        "it is the perplexity": lambda x, t: _right(x, t).exp(),
        "it is in bits": lambda x, t: _right(x, t) / math.log(2),
        "the sign is turned round": lambda x, t: -_right(x, t),
    },
}
