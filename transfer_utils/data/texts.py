"""The course's lines of text: to pretrain on, and labelled."""

TOPICS = (
    "animal",
    "plant",
    "food",
    "body",
    "artifact",
    "person",
    "location",
    "substance",
    "act",
    "communication",
)


def load_lines(split: str = "train") -> list[str]:
    """Lines to pretrain on: definitions and example sentences, one each. split: train, or valid, which are 2,000."""
    import lzma

    from transfer_utils import machine

    return lzma.decompress(machine.read_shipped("texts", f"{split}.txt.xz")).decode().splitlines()
