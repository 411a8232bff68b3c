"""The ways to learn a new task that lessons 3 and 4 compare, by name."""

from dataclasses import dataclass

from transfer_utils.machine import unknown
from transfer_utils.training import Phase, with_epochs

HEAD_RATE = 1e-2  # of the phases that train a new head alone: head only is good with it at every size
EPOCHS = {5: 60, 20: 30, 100: 12, 500: 5}  # by photos per class: few photos make few steps an epoch


@dataclass(frozen=True)
class Method:
    """A way to learn a new task. longer: times the epochs of the others; a probe is fitted to the end instead.

    holds: batch-norm's statistics, also where its weights train.
    """

    name: str
    phases: tuple[Phase, ...] = (Phase(),)
    from_scratch: bool = False
    longer: int = 1
    probe: bool = False
    holds: bool = False

    def plan(self, epochs: int) -> list[tuple[Phase, int]]:
        """The phases, each with its share of the epochs."""
        return with_epochs(list(self.phases), self.longer * epochs)


_UNFREEZING = (Phase("pool", 1 / 5, HEAD_RATE), *(Phase(to, 1 / 5) for to in ("stage2", "stage1", "stem", None)))
METHODS = {  # by name, in the order in which they are shown: the more of the network trains, the further down
    method.name: method
    for method in (
        Method("scratch", from_scratch=True),
        Method("scratch, longer", from_scratch=True, longer=5),
        Method("linear probe, random weights", (), from_scratch=True, probe=True),
        Method("linear probe", (), probe=True),
        Method("head only", (Phase("pool"),)),
        Method("last stage", (Phase("stage2"),)),
        Method("gradual unfreezing", _UNFREEZING),
        Method("head, then full", (Phase("pool", 1 / 2, HEAD_RATE), Phase(None, 1 / 2))),
        Method("full"),
        Method("full, statistics held", holds=True),
        Method("full, longer", longer=5),
        Method("full, rate found"),
        Method("full at 0.1"),
        Method("scratch at 0.1", from_scratch=True),
        Method("full, head 10x", (Phase(changes={"head_ratio": 10.0}),)),
        Method("full, no augmentation", (Phase(changes={"augment": False}),)),
        Method("full, decay x100", (Phase(changes={"decay": 5.0}),)),
    )
}


def named(name: str) -> Method:
    """The method of this name. ValueError for an unknown one."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
