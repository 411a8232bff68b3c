"""Make data/texts/ from WordNet 3.0: lines to pretrain on, and definitions of ten topics that pretraining never sees.

usage: python data/make_texts.py FOLDER      the folder with data.noun, data.verb, data.adj and data.adv

Debian's package wordnet-base has the folder as usr/share/wordnet (`apt-get download wordnet-base`, `dpkg -x`). The
vocabulary, byte pairs of the lines to pretrain on, is made here too. Same files in, same bytes out.
"""

import lzma
import random
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from transfer_utils import machine
from transfer_utils.data import TOPICS, in_class, near_duplicates, unalike, word_list, word_pairs

LEXICOGRAPHER_FILES = dict(zip(TOPICS, (5, 20, 13, 8, 6, 18, 15, 27, 4, 10), strict=True))
PARTS = {"train": 750, "valid": 150, "test": 300}  # definitions of each topic
WORDS = 2048  # tokens in the vocabulary
MARKS = ["<pad>", "<end>"]  # tokens 0 and 1
HELD_OUT = 2000  # lines that pretraining is judged by
TEXTS = machine.shipped_folder() / "texts"


def glosses(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Part of speech, number of the lexicographer file, and gloss of every entry (format: man 5 wndb)."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if not line.startswith("  "):  # the licence
                entry, _, gloss = line.partition("|")
                yield part, int(entry.split()[1]), gloss


def parted(gloss: str) -> tuple[str, list[str]]:
    """The definition in a gloss, and the example sentences in quotes behind it."""
    definition, *_ = gloss.partition('"')
    return " ".join(definition.split()).rstrip(";:,- "), [
        " ".join(text.split()) for text in re.findall('"([^"]*)"', gloss)
    ]


def topic_lines(entries: list[tuple[str, int, str]], kept_out: re.Pattern) -> list[tuple[str, str, str]]:
    """Part, topic and definition: the same number for every topic, no two alike."""
    drawn: list[tuple[str, str]] = []
    for topic, number in LEXICOGRAPHER_FILES.items():
        found = [parted(gloss)[0] for part, file, gloss in entries if part == "noun" and file == number]
        found = sorted({line for line in found if in_class(line, kept_out)})
        drawn += [(topic, line) for line in random.Random(topic).sample(found, len(found))]
    random.Random(0).shuffle(drawn)
    kept = [drawn[position] for position in unalike([line for _, line in drawn])]
    rows = []
    for topic in TOPICS:
        lines = iter([line for name, line in kept if name == topic])
        rows += [(part, topic, next(lines)) for part, count in PARTS.items() for _ in range(count)]
    return rows


def pretraining_lines(
    entries: list[tuple[str, int, str]], topics: list[str], kept_out: re.Pattern
) -> tuple[list[str], int, int]:
    """All other definitions and examples, in random order; how many were kept out, how many nearly equal a topic's."""
    parts = [parted(gloss) for *_, gloss in entries]
    every = dict.fromkeys(line for definition, examples in parts for line in (definition, *examples))
    lines = [line for line in every if in_class(line, kept_out)]
    refused = sum(1 for line in every if kept_out.search(line))
    random.Random(0).shuffle(lines)
    pairs = word_pairs([*topics, *lines])
    twins = {line for _, line in near_duplicates(pairs[: len(topics)], pairs[len(topics) :])}
    return [line for position, line in enumerate(lines) if position not in twins], refused, len(twins)


def vocabulary(lines: list[str]) -> Tokenizer:
    """Byte pairs (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909), so that any text becomes tokens and back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=MARKS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def write(name: str, lines: Iterable[str]) -> None:
    """Lines as data/texts/<name>.xz."""
    content = "".join(f"{line}\n" for line in lines).encode()
    (TEXTS / f"{name}.xz").write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))


def main(folder: Path) -> None:
    kept_out = word_list((TEXTS / "kept_out.txt").read_text(encoding="utf-8").splitlines())
    entries = list(glosses(folder))
    topics = topic_lines(entries, kept_out)
    lines, refused, twins = pretraining_lines(entries, [line for *_, line in topics], kept_out)
    write("topics.tsv", ["\t".join(row) for row in topics])
    write("valid.txt", lines[:HELD_OUT])
    write("train.txt", lines[HELD_OUT:])
    vocabulary(lines[HELD_OUT:]).save(str(TEXTS / "vocabulary.json"))
    machine.write_checksums("texts")
    print(f"{len(topics)} definitions of {len(TOPICS)} topics, {len(lines)} lines to pretrain on.")
    print(f"Left out: {refused} lines with a word of kept_out.txt, {twins} that equal or nearly equal a topic's line.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
