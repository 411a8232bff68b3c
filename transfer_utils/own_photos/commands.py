"""What the command line does with photos: train on a folder, and answer for single files."""

import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from transfer_utils import machine, stats
from transfer_utils.own_photos.classifiers import Classifier, extract
from transfer_utils.own_photos.decode import Unreadable, read_bytes, read_photo
from transfer_utils.own_photos.folders import WORKERS, read
from transfer_utils.own_photos.saved_models import check_place, save

TOGETHER = 32  # photos that are read side by side and answered at once
ONE_LINE = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


def train_folder(photos: str | Path, out: str | Path) -> Path:
    """Read, cross-validate, train and save; says how it goes on standard error. Errors as in the steps themselves."""
    target = check_place(out)
    if str(photos) and target.is_relative_to(machine.expanded(photos).resolve()):
        raise ValueError(f"{out} lies inside {photos}, where it would be taken for a class. Choose a place outside.")
    folder = read(photos)
    print(folder.report(), file=sys.stderr)
    bank = extract(folder)
    logits = bank.cross_validate()
    right = stats.evaluate(logits, folder.photos.labels, folder.photos.classes).accuracy
    print(f"Recognised, each by a classifier that had not seen it: {right}", file=sys.stderr)
    return save(out, bank.train(logits))


def answer_files(classifier: Classifier, images: Sequence[str]) -> bool:
    """Print one line for each photo file, and on standard error why not; whether all could be read.

    images: paths, or patterns such as *.jpg, which not every shell expands.
    """
    paths = [path for image in images for path in ([image] if Path(image).exists() else sorted(glob(image)) or [image])]
    parts = [paths[i : i + TOGETHER] for i in range(0, len(paths), TOGETHER)]
    with ThreadPoolExecutor(WORKERS) as pool, tqdm(total=len(paths), unit="photo") as bar:
        answered = [_answer(classifier, part, pool, bar) for part in parts]
    return all(answered)


def _answer(classifier: Classifier, paths: Sequence[str], pool: Executor, bar: tqdm) -> bool:
    """Print a line for each photo, or say why not; whether all could be read."""
    found = list(pool.map(lambda path: _pixels(path, classifier.size), paths))
    readable = [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in found if not isinstance(pixels, str)]
    answers = classifier.predict(torch.stack(readable)).to_dict("records") if readable else []
    remaining = iter(answers)
    for path, pixels in zip(paths, found, strict=True):
        _print(path.translate(ONE_LINE), pixels if isinstance(pixels, str) else next(remaining))
        bar.update()
    return len(readable) == len(paths)


def _pixels(path: str, size: int) -> np.ndarray | str:
    """A photo (size, size, 3), or in words why it cannot be read."""
    try:
        return read_photo(read_bytes(Path(path)), size)[0]
    except (OSError, Unreadable) as error:
        return str(getattr(error, "strerror", None) or error)


def _print(name: str, answer: dict[str, Any] | str) -> None:
    if isinstance(answer, str):
        tqdm.write(f"{name}: {answer}", file=sys.stderr)
        return
    tqdm.write(f"{name}\t{answer['class'].translate(ONE_LINE)}\t{answer['probability']:.4f}", file=sys.stdout)
    if answer["unlike"]:
        tqdm.write(f"{name}: unlike any photo that this classifier was trained on", file=sys.stderr)
