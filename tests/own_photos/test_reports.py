from photo_pieces import GOOD, SIZE, png, written

from transfer_utils.course import sample_photos
from transfer_utils.own_photos import read, reports


def test_report_of_the_sample(tmp_path):
    text = read(sample_photos(tmp_path / "sample"), SIZE, progress=False).report()
    for words in (
        "123 photos in 3 classes; 3 files left out.",
        "Photos per class: cat 40, dog 42, horse 41.",
        "Sizes: 24 x 24 to 32 x 32 pixels.",
        "2 files could not be used:",
        "  cat/cat-41-cut-off.png: it is damaged or cut off",
        "  horse/shopping-list.jpg: it is text, not a photo",
        "1 file left out because the same file is there already:",
        "  cat/copy-of-cat-01.png: the same file as cat/cat-01.png",
        "2 photos look nearly like another, such as dog/dog-02.png and dog/small-dog-02.jpg",
        "1 photo: turned upright by its EXIF tag.",
        "Suggested split: use cross-validation, because 'cat' has fewer than 100 photos.",
    ):
        assert words in text
    assert all(len(line) < 200 for line in text.splitlines())


def test_report_warns(tmp_path):
    files = {f"cat/{n}.png": png(n) for n in range(16)} | {f"Cat /{n}.png": png(100 + n) for n in range(4)}
    files |= {f"cat/bad{n:02}.jpg": b"apples" for n in range(12)} | {"cat/a\nb.jpg": b""}
    text = read(written(tmp_path, files), SIZE, progress=False).report()
    assert "Class 'Cat ' has only 4 photos; with fewer than 10, luck decides." in text
    assert "'cat' has 4.0 times as many photos as 'Cat ': always guessing 'cat' would be right for 80%." in text
    assert "The classes 'Cat ' and 'cat' differ only by capitals or spaces" in text
    assert "13 files could not be used:" in text
    assert "  cat/a?b.jpg: it is empty" in text
    assert "  and 3 more" in text


def test_report_is_silent_about_what_is_fine(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "ENOUGH", 2)
    monkeypatch.setattr(reports, "FEW", 2)
    assert read(written(tmp_path, GOOD), SIZE, progress=False).report().splitlines() == [
        "4 photos in 2 classes; 0 files left out.",
        "Photos per class: cat 2, zebra 2.",
        "Sizes: 32 x 32 to 32 x 32 pixels.",
        "Suggested split: hold out 20 % of the photos, or use cross-validation.",
    ]
