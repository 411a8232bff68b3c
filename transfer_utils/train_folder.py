"""Train a classifier on a folder of your own photos, from the command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transfer_utils import own_photos, stats

DESCRIPTION = """\
Train a classifier on your own photos. PHOTOS is a folder, or a zip of one, with a folder for each class:

    photos/cup/1.jpg  photos/cup/2.jpg  photos/mug/1.jpg  photos/mug/2.jpg

A dozen photos a class is a start. Your photos are only read, never changed. The first run takes a second for about
ten photos; a second run on the same photos is much faster."""
EXAMPLE = "example: python -m transfer_utils.train_folder photos --out my_model"


def train_folder(photos: str | Path, out: str | Path) -> Path:
    """Read, cross-validate, train and save; says how it goes on standard error. Errors as in the steps themselves."""
    target = own_photos.check_place(out)
    if str(photos) and target.is_relative_to(Path(photos).expanduser().resolve()):
        raise ValueError(f"{out} lies inside {photos}, where it would be taken for a class. Choose a place outside.")
    folder = own_photos.read(photos)
    print(own_photos.report(folder), file=sys.stderr)
    bank = own_photos.extract(folder)
    logits = own_photos.cross_validate(bank)
    right = stats.overall(folder.photos.labels, logits.argmax(1))
    print(f"Recognised, each by a classifier that had not seen it: {right}", file=sys.stderr)
    card = own_photos.folder_card(folder, logits, bank.model.name)
    return own_photos.save(out, own_photos.train(bank, logits), card)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: prints the folder of the saved model on standard output, everything else on standard error."""
    parser = argparse.ArgumentParser(
        "python -m transfer_utils.train_folder",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", metavar="PHOTOS", help="a folder with one folder per class, or a .zip of one")
    parser.add_argument("--out", metavar="MODEL", required=True, help="the folder that the model is saved to")
    chosen = parser.parse_args(arguments)
    try:
        saved = train_folder(chosen.photos, chosen.out)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"Nothing was saved. {error}")
    # A name that the terminal's encoding lacks must not look like a failure.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    print(saved)


if __name__ == "__main__":
    main()
