"""Ask a saved classifier about photos, from the command line."""

import argparse
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

import torch
from tqdm import tqdm

from transfer_utils import own_photos
from transfer_utils.own_photos import Classifier, Unreadable, read_bytes, read_photo

DESCRIPTION = """\
Ask a saved classifier about photos, which are only read, never changed. Prints one line for each photo: its path, the
class, and the probability of that class, separated by tabs. Photos that cannot be read, and photos unlike any that the
classifier was trained on, are named on standard error."""
EXAMPLE = "example: python -m transfer_utils.predict my_model holiday/*.jpg > answers.tsv"
ONE_LINE = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r"})


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: ends with status 1 when the model or any photo could not be read."""
    parser = argparse.ArgumentParser(
        "python -m transfer_utils.predict",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a folder that train_folder saved")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="photo files: JPEG, PNG, WebP, GIF, TIFF, BMP ...")
    chosen = parser.parse_args(arguments)
    try:
        classifier = own_photos.load(chosen.model)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    # A name that the terminal's encoding lacks must not end the run.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    answered = [_answer(classifier, path) for path in tqdm(_expanded(chosen.images), unit="photo")]
    sys.exit(0 if all(answered) else 1)


def _expanded(images: Sequence[str]) -> list[str]:
    """The files that are meant by patterns such as *.jpg, which not every shell expands."""
    return [path for image in images for path in ([image] if Path(image).exists() else sorted(glob(image)) or [image])]


def _answer(classifier: Classifier, path: str) -> bool:
    """Print one line, or say why not."""
    name = path.translate(ONE_LINE)
    try:
        pixels, _ = read_photo(read_bytes(Path(path)), classifier.size)
    except (OSError, Unreadable) as error:
        tqdm.write(f"{name}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return False
    answer = own_photos.predict(classifier, torch.from_numpy(pixels).permute(2, 0, 1)[None]).iloc[0]
    tqdm.write(f"{name}\t{answer['class'].translate(ONE_LINE)}\t{answer['probability']:.4f}", file=sys.stdout)
    if answer["unlike"]:
        tqdm.write(f"{name}: unlike any photo that this classifier was trained on", file=sys.stderr)
    return True


if __name__ == "__main__":
    main()
