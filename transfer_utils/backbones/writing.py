"""What a GPT says next: the chances of each token, and whole lines drawn from them."""

import torch
from torch import Tensor

from transfer_utils.backbones.gpt import GPT, LONGEST
from transfer_utils.backbones.in_use import keeping_modes
from transfer_utils.backbones.vocabulary import END, PAD, to_text, to_tokens
from transfer_utils.machine import Seed, generator

MOST_WRITTEN = LONGEST - 1


def next_tokens(model: GPT, line: str, count: int = 10) -> dict[str, float]:
    """The `count` likeliest next tokens after a line, as text, with their probabilities; the likeliest first."""
    chances, order = _chances(model, [END, *to_tokens([line])[0]]).sort(descending=True)
    return {
        _shown(token): chance for token, chance in zip(order[:count].tolist(), chances[:count].tolist(), strict=True)
    }


def write(model: GPT, line: str = "", temperature: float = 0.7, seed: Seed = None) -> str:
    """The line, written on until the model ends it, or it has 63 tokens.

    temperature: below 1 for likelier words, above for stranger ones. ValueError for one that is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"write() got temperature={temperature!r}; it must be above 0, for example 0.7.")
    draws, tokens = generator(seed), [END, *to_tokens([line])[0]]
    while len(tokens) <= MOST_WRITTEN:
        chances = _chances(model, tokens, temperature)
        token = int(torch.multinomial(chances, 1, generator=draws))
        if token == END:
            break
        tokens.append(token)
    return to_text(tokens[1:])


def _chances(model: GPT, tokens: list[int], temperature: float = 1.0) -> Tensor:
    """The probability of each token after these, of which the last 64 count; padding is never one."""
    seen = torch.tensor([tokens[-LONGEST:]], device=model.head.weight.device)
    with keeping_modes(model), torch.no_grad():
        model.eval()
        logits = model.next_tokens(seen)[0, -1].float().cpu()
    logits[PAD] = -torch.inf
    return (logits / temperature).softmax(0)


def _shown(token: int) -> str:
    """A token as text; the mark that ends a line as the end of one."""
    return "end of line" if token == END else to_text([token])
