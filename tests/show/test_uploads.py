"""Uploads without a page: the parts that it would send, one after the other."""

import io
import itertools
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from small_classifiers import CLASSES, SIZE, new_photos, small_classifier, small_folder

from transfer_utils.show import Predictor, Uploader, uploads
from transfer_utils.show.uploads import Receiver

NUMBERS = itertools.count()
PICTURE = re.compile(r'<img alt="([^"]*)" src="data:image/png;base64,')


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png(photo: torch.Tensor) -> bytes:
    return encoded(Image.fromarray(photo.permute(1, 2, 0).numpy()))


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def parts(name: str, content: bytes, class_name: str = "", length: int = 500_000):
    """What the page sends for one file: messages with their buffers."""
    number = f"file {next(NUMBERS)}"
    for offset in range(0, len(content), length):
        part = {"act": "part", "id": number, "name": name, "class": class_name, "offset": offset, "size": len(content)}
        yield part, [memoryview(content[offset : offset + length])]


def send(widget: Receiver, *arguments, **options) -> dict:
    """Send a file as the page does: it waits for each receipt, and stops at the first that failed."""
    for part, buffers in parts(*arguments, **options):
        widget._take(part, buffers)
        assert widget.receipt["id"] == part["id"]
        if widget.receipt["failed"]:
            break
        assert widget.receipt["received"] == part["offset"] + len(buffers[0])
    return widget.receipt


class Listener(Receiver):
    """Remembers the files that arrived."""

    def receive(self, class_name, file_name, content):
        self.arrived = [*getattr(self, "arrived", []), (class_name, file_name, content)]
        return f"{file_name} is here"


@pytest.fixture
def listener():
    return Listener(title="Listener")


# --- parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 7, 10, 11, 500_000])
def test_a_file_arrives_whole_in_any_number_of_parts(listener, length):
    content = bytes(range(10))
    assert send(listener, "a.png", content, "cat", length=length)["said"] == "a.png is here"
    assert listener.arrived == [("cat", "a.png", content)]
    assert listener.receipt["received"] == 10
    assert not listener.receipt["failed"]


def test_files_arrive_one_after_the_other(listener):
    for name in ("a.png", "b.png"):
        send(listener, name, name.encode() * 5, length=4)
    assert [(name, content) for _, name, content in listener.arrived] == [
        ("a.png", b"a.png" * 5),
        ("b.png", b"b.png" * 5),
    ]


def test_nothing_is_said_before_the_last_part(listener):
    first, last = parts("a.png", b"0123456789", length=5)
    listener._take(*first)
    assert listener.receipt == {"id": first[0]["id"], "received": 5, "said": "", "failed": False}
    listener._take(*last)
    assert listener.receipt["said"] == "a.png is here"


@pytest.mark.parametrize("order", [[1], [0, 2], [0, 0, 2], [0, 1, 1]], ids=str)
def test_parts_out_of_order_are_refused(listener, order):
    sent = list(parts("a.png", bytes(12), length=4))
    for i in order:
        listener._take(*sent[i])
    assert listener.receipt["failed"]
    assert listener.receipt["said"].startswith("a.png: the upload was interrupted")
    assert not hasattr(listener, "arrived")


def test_an_interrupted_file_can_be_sent_again(listener):
    for part in list(parts("a.png", b"0123456789", length=3))[:2]:
        listener._take(*part)
    assert send(listener, "a.png", b"0123456789", length=4)["said"] == "a.png is here"
    assert listener.arrived == [("", "a.png", b"0123456789")]


def test_a_failed_file_leaves_the_way_free_for_the_next(listener):
    listener._take(*list(parts("a.png", bytes(12), length=4))[1])
    assert listener.receipt["failed"]
    assert not send(listener, "b.png", b"whole")["failed"]


def test_parts_of_two_files_are_never_put_together(listener):
    """Two views of one widget may send at the same time."""
    mine, theirs = (list(parts(name, name.encode() * 4, length=10)) for name in ("a.png", "b.png"))
    for part in (mine[0], theirs[0], mine[1], theirs[1]):
        listener._take(*part)
    for _, name, content in getattr(listener, "arrived", []):
        assert content == name.encode() * 4


def test_a_file_that_is_too_large_is_refused_at_its_first_part(listener, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_BYTES", 100)
    assert not send(listener, "a.png", bytes(100), length=40)["failed"]
    first, *_ = parts("b.png", bytes(101), length=40)
    listener._take(*first)
    assert listener.receipt["failed"]
    assert "is too large" in listener.receipt["said"]
    assert len(listener.arrived) == 1


def test_the_page_knows_the_limit(listener):
    assert listener.most == uploads.MOST_BYTES
    assert "most" in listener.keys


def test_other_messages_and_messages_with_something_missing_do_no_harm(listener):
    listener._take({"act": "dance"}, [])
    assert listener.receipt == {}
    listener._take({"act": "part", "id": "x"}, [])
    assert listener.receipt["id"] == "x"
    assert listener.receipt["failed"]


# --- into a folder ------------------------------------------------------------------------------------------------


def test_photos_arrive_in_the_folder_of_their_class(tmp_path):
    shown = Uploader(tmp_path / "mine")
    assert shown.asks_class
    assert shown.sentence().endswith("holds no photos yet.")
    content = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    assert send(shown, "a.jpg", content, "cat", length=6000)["said"] == "a.jpg is in cat"
    assert (tmp_path / "mine" / "cat" / "a.jpg").read_bytes() == content
    send(shown, "a.jpg", b"another", "cat")
    send(shown, "b.jpg", b"a dog", "dog")
    assert shown.counts == ["cat: 2", "dog: 1"]
    assert shown.sentence() == f"{tmp_path / 'mine'} holds cat: 2, dog: 1."


def test_what_is_there_already_is_counted_at_the_start(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.jpg").touch()
    (tmp_path / "loose.jpg").touch()
    assert Uploader(str(tmp_path)).counts == ["cat: 1"]


def test_a_photo_without_a_class_is_refused_in_words(tmp_path):
    shown = Uploader(tmp_path / "mine")
    receipt = send(shown, "a.jpg", b"photo", "")
    assert receipt["failed"]
    assert receipt["said"].startswith("a.jpg: ")
    assert "give the class a name" in receipt["said"]
    assert not (tmp_path / "mine").exists()


HOSTILE = ("../../evil", "/etc/passwd", "..\\evil", "C:\\evil", "a\0b", "..", ".bashrc", "x" * 300, "con.jpg")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_inside_the_folder(tmp_path, name):
    shown = Uploader(tmp_path / "inside" / "mine")
    for class_name, file_name in ((f"c{name}", "a.jpg"), ("cat", name)):
        send(shown, file_name, b"photo", class_name)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert 1 <= len(written) <= 2
    for path in written:
        assert len(path.relative_to(tmp_path / "inside" / "mine").parts) == 2
        assert not path.name.startswith(".")
        assert path.resolve().is_relative_to(tmp_path / "inside" / "mine")


def test_a_zip_becomes_class_folders(tmp_path):
    shown = Uploader(tmp_path / "mine")
    content = zipped({"pets/cat/1.png": b"one", "pets/cat/2.png": b"two", "pets/dog/1.png": b"three"})
    assert send(shown, "Pets.ZIP", content, length=100)["said"] == "Pets.ZIP: 3 files"
    assert shown.counts == ["cat: 2", "dog: 1"]
    assert (tmp_path / "mine" / "dog" / "1.png").read_bytes() == b"three"


@pytest.mark.parametrize(
    "content",
    [
        b"no zip at all",
        zipped({"cat/1.png": b"one", "../evil.png": b"two"}),
        zipped({"cat/1.png": b"one", "/etc/cat/evil.png": b"two"}),
        zipped({"cat/1.png": b"one", "dog/2.png": b"two"})[:-30],
    ],
    ids=["no zip", "upwards", "absolute", "cut off"],
)
def test_a_zip_that_is_no_use_is_refused_in_words_and_nothing_is_kept(tmp_path, content):
    shown = Uploader(tmp_path / "mine")
    receipt = send(shown, "pets.zip", content)
    assert receipt["failed"]
    assert receipt["said"].startswith("pets.zip: ")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert shown.counts == []


def test_an_uploader_has_a_still_picture_and_plain_text(tmp_path):
    still = Uploader(tmp_path).still()
    assert "Add your own photos" in still["text/html"]
    assert still["text/plain"] == f"Add your own photos: {tmp_path} holds no photos yet."


# --- in front of a classifier -------------------------------------------------------------------------------------


@pytest.fixture
def predictor():
    classifier, _ = small_classifier()
    examples = dict(zip(("first", "second", "third"), new_photos(1).images, strict=True))
    return Predictor(classifier, small_folder().photos, examples)


def test_the_examples_are_answered_from_the_start(predictor):
    classifier, _ = small_classifier()
    answers = classifier.predict(new_photos(1).images)
    assert (
        [frame["name"] for frame in predictor.frames]
        == predictor.controls[0]["options"]
        == ["first", "second", "third"]
    )
    for i, frame in enumerate(predictor.frames):
        predictor.state = [i]
        assert predictor.frame is frame
        found = f"{frame['name']}: {answers['class'][i]}, with a probability of {answers['probability'][i]:.0%}."
        assert predictor.sentence().startswith(found)
        assert [name for name, _ in frame["shares"]] == list(CLASSES)
        assert sum(share for _, share in frame["shares"]) == pytest.approx(1, abs=1e-3)
        known = small_folder().photos
        names = [name for _, name in frame["neighbours"]]
        assert names == [known.classes[known.labels[n]] for n in answers["neighbours"][i]]
        assert all(url.startswith("data:image/webp;base64,") for url in (frame["photo"], frame["neighbours"][0][0]))


def test_an_upload_becomes_the_chosen_photo(predictor):
    photo = new_photos(2).images[3]
    receipt = send(predictor, "mine.png", png(photo), length=1000)
    assert not receipt["failed"]
    assert receipt["said"] == predictor.sentence()
    assert predictor.chosen == {"photo": "mine.png"}
    assert predictor.controls[0]["options"] == ["first", "second", "third", "mine.png"]
    answer = predictor.classifier.predict(photo[None]).iloc[0]
    assert predictor.sentence().startswith(
        f"mine.png: {answer['class']}, with a probability of {answer['probability']:.0%}"
    )


def test_a_photo_of_any_size_is_seen_as_the_classifier_sees_photos(predictor):
    large = Image.fromarray(new_photos(1).images[0].permute(1, 2, 0).numpy()).resize((300, 200))
    assert not send(predictor, "large.jpg", encoded(large, "JPEG"))["failed"]
    assert len(predictor.frames) == 4


def test_noise_gets_a_warning_beside_its_answer(predictor):
    noise = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)
    said = send(predictor, "noise.png", png(noise))["said"]
    assert "it is unlike " in said
    assert predictor.frame["unlike"]
    assert not predictor.frames[0]["unlike"]


@pytest.mark.parametrize("content", [b"apples\n", b"\x89PNG\r\n\x1a\n", b"%PDF-1.4"])
def test_an_unreadable_photo_is_refused_in_words_and_changes_nothing(predictor, content):
    predictor.state = [1]
    receipt = send(predictor, "broken.jpg", content)
    assert receipt["failed"]
    assert receipt["said"].startswith("broken.jpg: it ")
    assert len(receipt["said"].split()) > 5
    assert predictor.chosen == {"photo": "second"}
    assert len(predictor.frames) == 3


def test_the_list_does_not_grow_without_end(predictor, monkeypatch):
    monkeypatch.setattr(uploads, "KEPT_AT_MOST", 4)
    photo = png(new_photos(1).images[0])
    for number in range(4):
        send(predictor, f"{number}.png", photo)
        assert predictor.frame["name"] == f"{number}.png"
    assert [frame["name"] for frame in predictor.frames] == ["0.png", "1.png", "2.png", "3.png"]
    assert predictor.controls[0]["options"] == ["0.png", "1.png", "2.png", "3.png"]


def test_a_predictor_without_a_page_is_a_picture_with_alt_text_and_plain_text(predictor, displayed):
    predictor.state = [2]
    predictor._ipython_display_()
    bundle = displayed[0]
    (alt,) = PICTURE.findall(bundle["text/html"])
    assert predictor.sentence() in alt.replace("&#x27;", "'")
    assert alt.startswith("Ask the classifier. third: ")
    assert f'data-still="{predictor.token}"' in bundle["text/html"]
    assert bundle["text/plain"] == f"Ask the classifier: {predictor.sentence()}"
