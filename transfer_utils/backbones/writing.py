"""What a GPT says next: the chances of each token, and whole lines drawn from them."""

import numbers
from typing import Any

import torch
from torch import Tensor, nn

from transfer_utils.backbones.gpt import GPT, LONGEST
from transfer_utils.backbones.in_use import keeping_modes
from transfer_utils.backbones.stages import unwrapped
from transfer_utils.backbones.vocabulary import END, PAD, to_text, to_tokens, vocabulary
from transfer_utils.machine import Seed, generator, is_whole

MOST_WRITTEN = LONGEST - 1
COLDEST, HOTTEST = 0.01, 100.0  # temperatures; beyond, a float32 cannot hold the chances


def next_tokens(model: nn.Module, line: str, count: int = 10) -> dict[str, float]:
    """The `count` likeliest next tokens after a line, as text, with their probabilities; the likeliest first.

    Of a longer line the last 64 tokens count. ValueError for more tokens than there are; else as in write.
    """
    gpt, tokens = _speaker("next_tokens()", model), [END, *to_tokens([line])[0]]
    most = vocabulary().get_vocab_size() - 1  # all but padding
    if not is_whole(count, 1) or count > most:
        raise ValueError(f"next_tokens() got count={count!r}; it must be a whole number from 1 to {most}.")
    chances, order = _chances(gpt, tokens).sort(descending=True)
    return {
        _shown(token): chance for token, chance in zip(order[:count].tolist(), chances[:count].tolist(), strict=True)
    }


def write(model: nn.Module, line: str = "", temperature: float = 0.7, seed: Seed = None) -> str:
    """The line, written on until the model ends it, or it has 63 tokens; a longer line comes back as it is.

    temperature: below 1 for likelier words, above for stranger ones. ValueError for one that is not from 0.01 to 100,
    and for a model whose head new_head() replaced; TypeError for another network, and for a line that is no text.
    """
    gpt, tokens = _speaker("write()", model), [END, *to_tokens([line])[0]]
    _check_temperature(temperature)
    draws = generator(seed)
    while len(tokens) <= MOST_WRITTEN:
        chances = _chances(gpt, tokens, temperature)
        token = int(torch.multinomial(chances, 1, generator=draws))
        if token == END:
            break
        tokens.append(token)
    return to_text(tokens[1:])


def _speaker(call: str, model: Any) -> GPT:
    """The GPT inside what torch puts around it. TypeError for what is none."""
    inner = unwrapped(model) if isinstance(model, nn.Module) else model
    if not isinstance(inner, GPT):
        name = getattr(inner, "name", type(inner).__name__)
        raise TypeError(f"{call} got {name}, which guesses no next token. Give a GPT, for example course_gpt().")
    return inner


def _check_temperature(temperature: Any) -> None:
    if not isinstance(temperature, numbers.Real) or not COLDEST <= float(temperature) <= HOTTEST:
        raise ValueError(
            f"write() got temperature={temperature!r}; it must be a number from {COLDEST} to {HOTTEST:g}, for example "
            "0.7. For the likeliest words: 0.01."
        )


def _chances(model: GPT, tokens: list[int], temperature: float = 1.0) -> Tensor:
    """The probability of each token after these, of which the last 64 count; padding is never one."""
    seen = torch.tensor([tokens[-LONGEST:]], device=model.head.weight.device)
    with keeping_modes(model), torch.no_grad():
        model.eval()
        logits = model.next_tokens(seen)[0, -1].float().cpu()
    logits[PAD] = -torch.inf
    return (logits / temperature).softmax(0)


def _shown(token: int) -> str:
    """A token as text, no two alike; the mark that ends a line as the end of one."""
    text = "end of line" if token == END else to_text([token])
    return f"part of a character ({token})" if "\ufffd" in text else text
