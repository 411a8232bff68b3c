"""A small GPT as named stages: it reads a line token by token, and says which token comes next.

After GPT-2 (Radford et al. 2019) and nanoGPT (https://github.com/karpathy/nanoGPT), in the size of a laptop.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from transfer_utils.backbones.stages import plain
from transfer_utils.backbones.text_models import Mean, TextModel, padded, real
from transfer_utils.backbones.vocabulary import END, PAD, to_tokens, vocabulary
from transfer_utils.machine import Seed, draws_from, generator

LONGEST = 64  # tokens that it reads at once
WIDTH, BLOCKS, HEADS = 192, 4, 3
SMALL = 0.02  # standard deviation of the first weights, as in GPT-2


class Embedding(nn.Module):
    """Tokens (N, L) to vectors (N, L, WIDTH): what each token is, plus where it stands."""

    def __init__(self, tokens: int):
        super().__init__()
        self.token, self.place = nn.Embedding(tokens, WIDTH), nn.Embedding(LONGEST, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return (self.token(tokens) + self.place(places)) * (tokens != PAD)[..., None]


class Attention(nn.Module):
    """Each token gathers from itself and those before it (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762)."""

    def __init__(self) -> None:
        super().__init__()
        self.asks, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.asks(x).unflatten(2, (3, HEADS, -1)).transpose(1, 3)  # (N, HEADS, 3, L, WIDTH / HEADS)
        return self.out(_gathered(*parts.unbind(2)).transpose(1, 2).flatten(2))


def _gathered(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention, in float32 on CPUs: there torch's backward pass takes four times as long in bfloat16."""
    if query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value, is_causal=True)
    with torch.autocast("cpu", enabled=False):
        gathered = scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=True)
    return gathered.to(query.dtype)


class Block(nn.Module):
    """Gather from the tokens before, then work on each token by itself; both are added to what was there."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(WIDTH), Attention(), nn.LayerNorm(WIDTH)
        self.work = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.attention(self.norm1(x))
        return (y + self.work(self.norm2(y))) * real(x)


class Norm(nn.LayerNorm):
    """Layer norm that leaves padding at zero."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * real(x)


class GPT(TextModel):
    """Stages embedding, block1 to block4, norm, pool, head. Its first head knows the tokens, see next_tokens."""

    longest = LONGEST
    embedding: Embedding
    head: nn.Linear

    def encode(self, lines: Sequence[str], size: int) -> Tensor:
        """Lines as tokens, int64 (N, size), from the mark that begins a line: longer ones are cut, shorter ones padded.

        ValueError for a size that is no whole number from 1 to 64, TypeError for what are no lines.
        """
        self.check_size(self.name, size)
        return padded([[END, *tokens] for tokens in to_tokens(lines)], size)

    def next_tokens(self, tokens: Tensor) -> Tensor:
        """Logits of the token after each of the tokens (N, L): (N, L, tokens of the vocabulary).

        ValueError once new_head() replaced the head that knows the tokens; errors as in preprocess.
        """
        self.check_rows("next_tokens()", tokens)
        if self.head.weight is not self.embedding.token.weight:
            raise ValueError(
                f"The head of {self.name} was replaced by one with {self.head.out_features} outputs, which are no "
                "tokens. Keep a copy before new_head(): copy.deepcopy(model)."
            )
        return self.head(self[: self.position("pool")](tokens))


def speaker(call: str, model: Any) -> GPT:
    """The GPT inside what torch puts around it. TypeError for what is none. call: who asks, for the message."""
    inner = plain(model)
    if not isinstance(inner, GPT):
        name = getattr(inner, "name", type(inner).__name__)
        raise TypeError(f"{call} got {name}, which guesses no next token. Give a GPT, for example course_gpt().")
    return inner


def course_gpt(seed: Seed = None) -> GPT:
    """An untrained GPT of 2.2 million parameters, whose head shares its weights with the embedding.

    seed: of its random weights, as for StagedModel.new_head.
    """
    with draws_from(generator(seed)):
        return untrained()


def untrained() -> GPT:
    """course_gpt from the draws of whoever calls."""
    tokens = vocabulary().get_vocab_size()
    stages: OrderedDict[str, nn.Module] = OrderedDict(embedding=Embedding(tokens))
    stages.update({f"block{i}": Block() for i in range(1, BLOCKS + 1)})
    stages.update(norm=Norm(WIDTH), pool=Mean(), head=nn.Linear(WIDTH, tokens, bias=False))
    model = GPT(stages, name="course_gpt")
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=SMALL)
    model.head.weight = model.embedding.token.weight
    return model
