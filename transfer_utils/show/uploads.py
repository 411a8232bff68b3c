"""Photos from the learner's browser: into a folder, one class at a time, or in front of a classifier."""

import base64
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import traitlets
from IPython.display import HTML
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from transfer_utils import machine, own_photos
from transfer_utils.data import ImageSet
from transfer_utils.own_photos import Classifier, read_photo
from transfer_utils.show import drawing
from transfer_utils.show.widgets import Frame, PageWidget, page_script

MOST_BYTES = 200_000_000  # of one upload; larger ones go into the folder by hand
KEPT_AT_MOST = 30  # photos in the list of a Predictor
THUMBNAIL = 112  # pixels


class Receiver(PageWidget):
    """Takes files that the page sends in parts, one after the other; the page waits for each `receipt`.

    In parts, since Jupyter closes the connection at a message above 10 MB.
    """

    _esm = page_script("uploads.js")
    receipt = traitlets.Dict().tag(sync=True)
    most = traitlets.Int(MOST_BYTES).tag(sync=True)
    asks_class = traitlets.Bool(False).tag(sync=True)
    button = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits: Any):
        super().__init__(**traits)
        self._parts: list[bytes] = []
        self._received = 0
        self._file: str | None = None
        self.on_msg(lambda _, message, buffers: self._take(message, buffers))

    def receive(self, class_name: str, file_name: str, content: bytes) -> str:
        """Deal with one whole file, and say in words what became of it. ValueError for one that is no use."""
        raise NotImplementedError

    def _take(self, part: Frame, buffers: Sequence[Any]) -> None:
        """Keep a part; with the last one the file is whole. The receipt says how far we are, and what went wrong."""
        if part.get("act") != "part":
            return
        said, failed = "", False
        try:
            if part["offset"] == 0:
                self._parts, self._received, self._file = [], 0, part["id"]
            expected = (self._file, self._received)
            if (part["id"], part["offset"]) != expected or part["size"] > MOST_BYTES:
                raise ValueError("the upload was interrupted, or is too large. Choose the file again.")
            self._parts.append(bytes(buffers[0]))
            self._received += len(self._parts[-1])
            if self._received >= part["size"]:
                content, self._parts = b"".join(self._parts), []
                said = self.receive(part.get("class", ""), part["name"], content)
        except Exception as error:  # the page must hear of it: a callback's error reaches nobody
            said, failed = f"{part.get('name')}: {error}", True
        self.receipt = {"id": part.get("id"), "received": self._received, "said": said, "failed": failed}


class Uploader(Receiver):
    """A button that puts photos, or a zip with a folder for each class, into `folder` on this machine."""

    counts: traitlets.List = traitlets.List().tag(sync=True)

    def __init__(self, folder: str | Path):
        super().__init__(title="Add your own photos", asks_class=True, button="Choose photos, or a zip")
        self.folder = machine.expanded(folder)
        self._count()

    def receive(self, class_name: str, file_name: str, content: bytes) -> str:
        if file_name.lower().endswith(".zip"):
            stored = own_photos.store_zip(self.folder, file_name, content)
            said = f"{file_name}: {len(stored)} files"
        else:
            path = own_photos.store(self.folder, class_name, file_name, content)
            said = f"{path.name} is in {path.parent.name}"
        self._count()
        return said

    def _count(self) -> None:
        classes = sorted(path for path in self.folder.glob("*") if path.is_dir())
        self.counts = [f"{path.name}: {sum(file.is_file() for file in path.iterdir())}" for path in classes]

    def sentence(self) -> str:
        return f"{self.folder} holds {', '.join(self.counts) or 'no photos yet'}."

    def picture(self) -> HTML:
        return HTML(f"<p>{self.title}: a field for the class, and a button to choose photos or a zip.</p>")


class Predictor(Receiver):
    """Photos, the learner's among them, and what a classifier says about each."""

    frames: traitlets.List = traitlets.List().tag(sync=True)

    def __init__(self, classifier: Classifier, known: ImageSet, examples: dict[str, Tensor]):
        """known: the photos that the classifier was trained on. examples: name to uint8 photo (3, size, size)."""
        self.classifier, self.known = classifier, known
        names = list(examples)
        frames = [self._frame(name, photo) for name, photo in examples.items()]
        super().__init__(
            title="Ask the classifier",
            controls=[{"label": "photo", "options": names, "kind": "choice"}],
            state=[0],
            frames=frames,
            button="Ask about photos of your own",
        )

    def receive(self, class_name: str, file_name: str, content: bytes) -> str:
        pixels, _ = read_photo(content, self.classifier.size)
        frame = self._frame(file_name, torch.from_numpy(pixels).permute(2, 0, 1))
        with self.hold_sync():
            self.frames = [*self.frames, frame][-KEPT_AT_MOST:]
            (control,) = self.controls
            self.controls = [{**control, "options": [kept["name"] for kept in self.frames]}]
            self.state = [len(self.frames) - 1]
        return frame["sentence"]

    def _frame(self, name: str, photo: Tensor) -> Frame:
        answer = self.classifier.predict(photo[None]).iloc[0]
        sentence = f"{name}: {answer['class']}, with a probability of {answer['probability']:.0%}."
        if answer["unlike"]:
            sentence += " But it is unlike the photos that this classifier was trained on, so check the answer."
        labels = [int(self.known.labels[i]) for i in answer["neighbours"]]
        return {
            "name": name,
            "sentence": sentence,
            "unlike": bool(answer["unlike"]),
            "photo": _thumbnail(photo),
            "shares": [[c, round(s, 4)] for c, s in zip(self.classifier.classes, answer["shares"], strict=True)],
            "neighbours": [
                [_thumbnail(self.known.images[i]), self.known.classes[label]]
                for i, label in zip(answer["neighbours"], labels, strict=True)
            ],
        }

    @property
    def frame(self) -> Frame:
        """What is shown now."""
        return self.frames[self.state[0]]

    def sentence(self) -> str:
        return self.frame["sentence"]

    def picture(self) -> HTML:
        frame = self.frame
        figure = Figure((7.5, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 2])
        left.imshow(Image.open(io.BytesIO(base64.b64decode(frame["photo"].partition(",")[2]))))
        left.set_axis_off()
        figure.suptitle(drawing.plain(textwrap.fill(frame["sentence"], 90)), fontsize=10)
        names, shares = zip(*frame["shares"], strict=True)
        right.barh(range(len(names)), shares, color=drawing.COLOURS[0])
        right.set_yticks(range(len(names)), list(map(drawing.plain, names)))
        right.invert_yaxis()
        right.set(xlim=(0, 1), xlabel="probability")
        right.xaxis.set_major_formatter("{x:.0%}")
        right.spines[["top", "right"]].set_visible(False)
        return drawing.picture(figure, f"{self.title}. {frame['sentence']}")


def _thumbnail(photo: Tensor) -> str:
    picture = Image.fromarray(photo.permute(1, 2, 0).numpy()).resize((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", quality=75)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
