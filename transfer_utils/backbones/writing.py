"""What a GPT says next: the chances of each word, and whole lines drawn from them."""

import numbers
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from transfer_utils.backbones.gpt import GPT, LONGEST, speaker
from transfer_utils.backbones.in_use import keeping_modes
from transfer_utils.backbones.vocabulary import END, PAD, to_text, to_tokens, vocabulary
from transfer_utils.machine import Seed, generator, is_whole

MOST_WRITTEN = LONGEST - 1
MOST_WORDS, MOST_PIECES, BEAM = 50, 6, 100  # words asked for, tokens in one, and beginnings of words that are followed
COLDEST, HOTTEST = 0.01, 100.0  # temperatures; beyond, a float32 cannot hold the chances


def next_words(model: nn.Module, line: str, count: int = 10) -> dict[str, float]:
    """The `count` likeliest words after a line with their probabilities, the likeliest first.

    A new word begins with a space; what has none goes on with the line's last word. The end of the line counts as a
    word. Of a longer line the last 64 tokens count. ValueError for a count that is no whole number from 1 to 50; else
    as in write.
    """
    gpt, before = speaker("next_words()", model), [END, *to_tokens([line])[0]]
    if not is_whole(count, 1) or count > MOST_WORDS:
        raise ValueError(f"next_words() got count={count!r}; it must be a whole number from 1 to {MOST_WORDS}.")
    begun: list[tuple[list[int], float]] = [([], 1.0)]
    found: dict[str, float] = {}
    while begun and len(begun[0][0]) < MOST_PIECES:
        chances = _chances(gpt, [before + pieces for pieces, _ in begun])
        allowed = _allowed(begun)
        for (pieces, chance), goes_on in zip(begun, (chances * allowed).sum(1).tolist(), strict=True):
            if pieces:
                word = _shown(pieces)
                found[word] = found.get(word, 0.0) + chance * (1 - goes_on)
        begun = _longer(begun, chances * allowed)
    return dict(sorted(found.items(), key=lambda word: -word[1])[:count])


def _longer(begun: list[tuple[list[int], float]], chances: Tensor) -> list[tuple[list[int], float]]:
    """The likeliest beginnings of words that are one token longer. chances: of each token, (beginnings, tokens)."""
    likeliest = (chances * torch.tensor([chance for _, chance in begun])[:, None]).flatten().topk(BEAM)
    places = zip(likeliest.values.tolist(), likeliest.indices.tolist(), strict=True)
    return [([*begun[i // chances.shape[1]][0], i % chances.shape[1]], chance) for chance, i in places if chance]


def _allowed(begun: list[tuple[list[int], float]]) -> Tensor:
    """Which tokens may follow, (beginnings, tokens): any at first, then such as go on with a word that is open."""
    goes_on, is_open = _joints()
    return torch.stack([goes_on & is_open[pieces[-1]] if pieces else torch.ones_like(goes_on) for pieces, _ in begun])


@cache
def _joints() -> tuple[Tensor, Tensor]:
    """For each token, whether it goes on with a word, and whether a word can go on behind it."""
    texts = [to_text([token]) or " " for token in range(vocabulary().get_vocab_size())]
    inside = [[text[end].isalnum() or text[end] in "'-\ufffd" for text in texts] for end in (0, -1)]
    return torch.tensor(inside[0]), torch.tensor(inside[1])


def write(model: nn.Module, line: str = "", temperature: float = 0.7, seed: Seed = None) -> str:
    """The line, written on until the model ends it, or it has 63 tokens; a longer line comes back as it is.

    temperature: below 1 for likelier words, above for stranger ones. ValueError for one that is not from 0.01 to 100,
    for a model whose head new_head() replaced, and for one that diverged; TypeError for another network, and for a
    line that is no text.
    """
    gpt, tokens = speaker("write()", model), [END, *to_tokens([line])[0]]
    _check_temperature(temperature)
    draws = generator(seed)
    while len(tokens) <= MOST_WRITTEN:
        (chances,) = _chances(gpt, [tokens], temperature)
        token = int(torch.multinomial(chances, 1, generator=draws))
        if token == END:
            break
        tokens.append(token)
    return to_text(tokens[1:])


def _check_temperature(temperature: Any) -> None:
    if not isinstance(temperature, numbers.Real) or not COLDEST <= float(temperature) <= HOTTEST:
        raise ValueError(
            f"write() got temperature={temperature!r}; it must be a number from {COLDEST} to {HOTTEST:g}, for example "
            "0.7. For the likeliest words: 0.01."
        )


def _chances(model: GPT, lines: list[list[int]], temperature: float = 1.0) -> Tensor:
    """The probability of each token after lines of the same length, (lines, tokens), of which the last 64 tokens count;
    padding is never next. ValueError for a network that diverged."""
    with keeping_modes(model), torch.no_grad():
        model.eval()
        # In here, since another thread may have moved the model while we waited for it.
        seen = torch.tensor([tokens[-LONGEST:] for tokens in lines], device=model.head.weight.device)
        logits = model.next_tokens(seen)[:, -1].float().cpu()
    if not logits.isfinite().all():
        raise ValueError(f"{model.name} gives NaN or infinite logits: it diverged. Train it again at a lower rate.")
    logits[:, PAD] = -torch.inf
    return (logits / temperature).softmax(1)


def _shown(pieces: list[int]) -> str:
    """Tokens as text, no two alike; the mark that ends a line as the end of one."""
    text = "end of line" if pieces == [END] else to_text(pieces)
    return f"part of a character {pieces}" if "\ufffd" in text else text
