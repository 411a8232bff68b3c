"""What networks that read lines have in common: tokens come in, and no stage sees padding."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from transfer_utils.backbones.stages import StagedModel
from transfer_utils.backbones.vocabulary import PAD
from transfer_utils.machine import check_tokens, is_whole


class TextModel(StagedModel):
    """A staged model that reads lines of text, as int64 tokens (N, L) from `encode`. Output: logits (N, classes).

    A stage gives (N, L, D), with zeros where a line has ended; the one called pool gives one vector a line, (N, D).
    """

    takes: ClassVar[str] = "tokens"
    longest: ClassVar[int]  # tokens that it reads at once

    def __init__(self, stages: "OrderedDict[str, nn.Module]", name: str):
        super().__init__(stages, mean=(), std=(), name=name)

    def encode(self, lines: Sequence[str], size: int) -> Tensor:
        """Lines as tokens, int64 (N, size): longer ones are cut, shorter ones padded."""
        raise NotImplementedError

    def example(self, count: int, size: int) -> Tensor:
        """Made-up input for `preprocess`: lines of the same token, int64 (count, size)."""
        return torch.ones(count, size, dtype=torch.int64)

    def preprocess(self, tokens: Tensor) -> Tensor:
        """The tokens as they are. TypeError or ValueError for what are no tokens, int64 (N, L), L at most `longest`."""
        self.check_rows("preprocess()", tokens)
        return tokens

    def check_rows(self, call: str, rows: Any) -> None:
        """As in StagedModel, for tokens."""
        check_tokens(call, rows, self.longest)

    def check_size(self, call: str, size: Any) -> None:
        """As in StagedModel, for the tokens of a line."""
        if not is_whole(size, 1) or size > self.longest:
            raise ValueError(
                f"{call} got size={size!r}; it is the tokens of a line that are read. "
                f"Give a whole number from 1 to {self.longest}."
            )


def real(x: Tensor) -> Tensor:
    """Where lines have tokens, (N, L, 1). Padding is a row of zeros, so that it needs no mask of its own."""
    return (x != 0).any(2, keepdim=True)


class Mean(nn.Module):
    """The average over a line's tokens: (N, L, D) to (N, D)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.float().sum(1) / real(x).sum(1).clamp_min(1)).to(x.dtype)


def padded(lines: Sequence[Sequence[int]], size: int) -> Tensor:
    """The tokens of each line as int64 (N, size): longer ones are cut, shorter ones padded."""
    tokens = torch.full((len(lines), size), PAD)
    for row, line in zip(tokens, lines, strict=True):
        row[: len(line)] = torch.tensor(line[:size])
    return tokens
