"""The command line: train a classifier on your own photos, ask it about others, check the set-up.

Each command imports what it needs when it runs, for torch takes seconds and help should take none.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

PROGRAM = "python -m transfer_utils"
TRAIN = """\
Train a classifier on your own photos. PHOTOS is a folder, or a zip of one, with a folder for each class:

    photos/cup/1.jpg  photos/cup/2.jpg  photos/mug/1.jpg  photos/mug/2.jpg

A dozen photos a class is a start. Your photos are only read, never changed. The first run takes a second for about
ten photos; a second run on the same photos is much faster."""
PREDICT = """\
Ask a saved classifier about photos, which are only read, never changed. Prints one line for each photo: its path, the
class, and the probability of that class, separated by tabs. Photos that cannot be read, and photos unlike any that the
classifier was trained on, are named on standard error."""
DOCTOR = "Say what the course finds on this computer, what is missing, and what a run downloads."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Ends with status 1 when it could not do all of it, and 2 when it was called in a wrong way."""
    parser = _parser()
    chosen, left = parser.parse_known_args(arguments)
    if left:
        chosen.error(f"unrecognized arguments: {' '.join(left)}")  # with the usage of the command, not of all of them
    if chosen.command is None:
        parser.print_help(sys.stderr)
        sys.exit(2)
    # A name that the terminal's encoding lacks must not look like a failure, or end the run.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    chosen.run(chosen)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(PROGRAM, description="Helpers of the transfer learning course.")
    parser.set_defaults(error=parser.error)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add = partial(commands.add_parser, formatter_class=argparse.RawDescriptionHelpFormatter)

    example = f"example: {PROGRAM} train photos --out my_model"
    train = add("train", help="train on a folder of photos", description=TRAIN, epilog=example)
    train.add_argument("photos", metavar="PHOTOS", help="a folder with one folder per class, or a .zip of one")
    train.add_argument("--out", metavar="MODEL", required=True, help="the folder that the model is saved to")
    train.set_defaults(run=_train, error=train.error)

    example = f"example: {PROGRAM} predict my_model holiday/*.jpg > answers.tsv"
    ask = add("predict", help="ask a saved model about photos", description=PREDICT, epilog=example)
    ask.add_argument("model", metavar="MODEL", help="a folder that train saved")
    ask.add_argument("images", metavar="IMAGE", nargs="+", help="photo files: JPEG, PNG, WebP, GIF, TIFF, BMP ...")
    ask.set_defaults(run=_predict, error=ask.error)

    doctor = add("doctor", help="check the set-up", description=DOCTOR)
    doctor.set_defaults(run=_doctor, error=doctor.error)
    return parser


def _train(chosen: argparse.Namespace) -> None:
    """Print the folder of the saved model on standard output, everything else on standard error."""
    from transfer_utils import machine, own_photos

    machine.use_threads()
    machine.hold_memory()
    try:
        saved = own_photos.train_folder(chosen.photos, chosen.out)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"Nothing was saved. {error}")
    print(saved)


def _predict(chosen: argparse.Namespace) -> None:
    from transfer_utils import machine, own_photos

    machine.use_threads()
    machine.hold_memory()
    try:
        classifier = own_photos.load(chosen.model)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    sys.exit(0 if own_photos.answer_files(classifier, chosen.images) else 1)


def _doctor(_: argparse.Namespace) -> None:
    from transfer_utils import machine

    machine.use_threads()
    machine.check()


if __name__ == "__main__":
    main()
