"""What the command line does with photos: train on a folder, and answer for single files."""

import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import torch
from tqdm import tqdm

from transfer_utils import machine, stats
from transfer_utils.own_photos.classifiers import Classifier, extract
from transfer_utils.own_photos.decode import Unreadable, read_bytes, read_photo
from transfer_utils.own_photos.folders import read
from transfer_utils.own_photos.saved_models import check_place, save

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
    answered = [_answer(classifier, path) for path in tqdm(paths, unit="photo")]
    return all(answered)


def _answer(classifier: Classifier, path: str) -> bool:
    """Print one line, or say why not."""
    name = path.translate(ONE_LINE)
    try:
        pixels, _ = read_photo(read_bytes(Path(path)), classifier.size)
    except (OSError, Unreadable) as error:
        tqdm.write(f"{name}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return False
    answer = classifier.predict(torch.from_numpy(pixels).permute(2, 0, 1)[None]).iloc[0]
    tqdm.write(f"{name}\t{answer['class'].translate(ONE_LINE)}\t{answer['probability']:.4f}", file=sys.stdout)
    if answer["unlike"]:
        tqdm.write(f"{name}: unlike any photo that this classifier was trained on", file=sys.stderr)
    return True
