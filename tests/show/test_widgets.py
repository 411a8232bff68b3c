"""The explorers without a browser: states, errors, and the still pictures that stand in for them."""

import base64
import io
import itertools
import re

import pandas as pd
import pytest
import torch
import traitlets
from PIL import Image

from transfer_utils import course, data, show, stats, training
from transfer_utils.show import widgets

PHOTOS = data.load(split="valid").take(6, seed=0)


@pytest.fixture(scope="module")
def stage_explorer():
    rows = stats.results("lesson02")
    rows = rows[rows["stage"].isin(["stem", "neck"])]
    banks = {"stem": torch.randn(60, 8), "neck": torch.nn.functional.one_hot(PHOTOS.labels).float()}
    return show.stage_explorer(rows, banks, PHOTOS, queries=[0, 30])


def test_every_combination_has_a_frame(stage_explorer):
    first, second = (len(control["options"]) for control in stage_explorer.controls)
    assert len(stage_explorer.frames) == first * second
    stage_explorer.state = [0, 0]
    assert stage_explorer.frame["sentence"].startswith("stem, 1 photos per class")


def test_a_state_that_does_not_exist_is_refused(stage_explorer):
    with pytest.raises(traitlets.TraitError, match=r"no state \[9, 0\]; positions go 0 to 1 \(stage\)"):
        stage_explorer.state = [9, 0]


def test_numbers_are_those_of_the_stored_rows(stage_explorer):
    rows = stats.results("lesson02").query("stage == 'neck' and per_class == 10")
    line = stage_explorer.chart["lines"][1]
    assert line["mean"][stage_explorer.chart["x"].index("10")] == pytest.approx(rows["test"].mean(), abs=1e-4)


def test_without_a_page_there_is_a_picture_with_alt_text(stage_explorer, displayed):
    stage_explorer.state = [1, 2]
    stage_explorer._ipython_display_()
    bundle, live = displayed
    alt = re.search(r'alt="([^"]*)"', bundle["text/html"]).group(1)
    assert f'data-still="{stage_explorer.token}"' in bundle["text/html"]
    assert "stage: neck, photos per class: 5" in alt
    assert stage_explorer.frame["sentence"] in alt.replace("&#x27;", "'")
    assert list(live) == ["application/vnd.jupyter.widget-view+json"]


def test_neighbours_are_of_the_same_class_and_never_the_photo_itself(stage_explorer):
    hits = training.nearest(torch.nn.functional.one_hot(PHOTOS.labels).float(), [0, 30], count=5)
    assert (PHOTOS.labels[hits] == PHOTOS.labels[[0, 30]][:, None]).all()
    assert not (hits == torch.tensor([[0], [30]])).any()


def test_response_explorer_shows_the_photos_that_excite_a_channel_most():
    response = torch.rand(60, 4)
    shown = show.response_explorer({"stem": response}, PHOTOS, channels=2, most=5)
    assert [len(row["tiles"]) for row in shown.frame["rows"]] == [5, 5]
    channel = int(shown.frame["rows"][0]["label"].split()[1])
    used = sorted({int(i) for c in (0, 1, 2, 3) for i in response[:, c].topk(5).indices})
    assert set(response[:, channel].topk(5).indices.tolist()) <= set(used)


def test_the_sprite_is_small():
    photos = data.load(split="valid").images[:200]
    assert len(widgets.sprite(photos)["url"]) < 150_000 * 4 / 3


def test_photos_can_be_shown_larger():
    """The page is told the side of a photo, and the still picture follows."""

    def height(**options) -> int:
        row = {"label": "cat", "words": "two photos", "tiles": [0, 1], "gap": 2}
        frame = {"sentence": "Two photos.", "rows": [row]}
        shown = show.explore("few", {"photo": ["one"]}, lambda i: frame, images=PHOTOS.images[:4], **options)
        assert shown.sprite["shown"] == options.get("shown", 46)
        code = re.search(r'src="data:image/png;base64,([^"]*)"', shown.picture().data).group(1)
        return Image.open(io.BytesIO(base64.b64decode(code))).height

    assert height(shown=184) > 1.5 * height()


def test_a_control_without_options_is_refused():
    with pytest.raises(ValueError, match="no options for 'stage'"):
        show.explore("empty", {"stage": []}, lambda i: {})


def test_network_explorer_has_a_frame_for_every_network_and_stage():
    bank = torch.nn.functional.one_hot(PHOTOS.labels).float()
    banks = {"before": {"stem": torch.randn(60, 4), "pool": bank}, "after": {"stem": bank, "pool": bank}}
    shown = show.network_explorer(banks, PHOTOS, [0, 30])
    assert shown.chosen == {"network": "before", "stage": "pool"}
    assert len(shown.frames) == 4
    shown.state = [1, 0]
    assert shown.frame["sentence"].startswith("after, stem: ")
    assert "after" in re.search(r'alt="([^"]*)"', shown.picture().data).group(1)


# --- methods --------------------------------------------------------------------------------------------------------

LEVELS = {  # with 5 and with 20 photos per class
    "scratch": (0.3, 0.5),
    "scratch, longer": (0.31, 0.51),
    "linear probe": (0.6, 0.65),
    "full": (0.605, 0.8),
}


def map_rows(levels=LEVELS) -> pd.DataFrame:
    """Two sources, two targets, three draws. The probe has one size more, and is best on valid photos at 5."""
    rows = []
    for (method, accuracies), target, seed in itertools.product(levels.items(), ("animals", "vehicles"), range(3)):
        starts = ["scratch"] if method.startswith("scratch") else ["vehicles", "both"]
        places = [(start, size, level) for start in starts for size, level in zip((5, 20), accuracies, strict=True)]
        if method == "linear probe":
            places += [(start, 10, 0.62) for start in starts]
        for source, size, level in places:
            setting = {"source": source, "target": target, "method": method, "per_class": size, "seed": seed}
            valid = level + 0.02 * (method == "linear probe" and size == 5)
            test = level - 0.03 * (source == "both") + 0.01 * (target == "vehicles") + seed / 100
            rows.append(setting | {"valid": valid, "test": test})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def method_explorer():
    return course.method_explorer(map_rows())


def every_frame(explorer):
    """Each frame with what its controls show."""
    options = [control["options"] for control in explorer.controls]
    for state in itertools.product(*(range(len(names)) for names in options)):
        chosen = tuple(names[i] for names, i in zip(options, state, strict=True))
        yield chosen, explorer.frames[",".join(map(str, state))]


def test_method_explorer_offers_sources_targets_and_the_sizes_of_scratch(method_explorer):
    offered = {control["label"]: control["options"] for control in method_explorer.controls}
    assert sorted(offered.pop("pretrained on")) == ["both", "vehicles"]
    assert sorted(offered.pop("new task")) == ["animals", "vehicles"]
    assert offered == {"photos per class": ["5", "20"]}
    assert len(method_explorer.frames) == len(list(every_frame(method_explorer))) == 8


def test_sizes_go_up_as_numbers_do():
    rows = map_rows()
    more = pd.concat([rows, rows[rows["per_class"] == 20].assign(per_class=100)])
    assert course.method_explorer(more).controls[2]["options"] == ["5", "20", "100"]


def test_the_method_explorer_marks_the_best_on_valid_photos(method_explorer):
    picks = set()
    for (source, target, size), frame in every_frame(method_explorer):
        (picked,) = (line["name"] for line in frame["intervals"] if line["picked"])
        setting = f"Pretrained on {source}, new task {target}, {size} photos per class."
        assert frame["sentence"].startswith(f"{setting} Best on valid photos: {picked}. ")
        picks.add((size, picked))
    assert picks == {("5", "linear probe"), ("20", "full")}


def test_method_explorer_shows_every_method_in_one_order_with_its_numbers(method_explorer):
    for (source, target, size), frame in every_frame(method_explorer):
        here = stats.select(map_rows(), target=target, per_class=int(size))
        here = here[here["source"].isin((source, "scratch"))]
        assert [line["name"] for line in frame["intervals"]] == list(LEVELS) == method_explorer.chart["names"]
        for line in frame["intervals"]:
            expected = stats.mean_interval(stats.select(here, method=line["name"])["test"])
            for edge in ("mean", "low", "high"):
                assert line[edge] == pytest.approx(getattr(expected, edge), abs=1e-4)
            # Inside the axis, which is the same for all frames
            assert method_explorer.chart["low"] <= line["low"] <= line["high"] <= method_explorer.chart["high"]


def test_method_explorer_says_what_every_other_method_is_against_the_best(method_explorer):
    notes = {
        key: {line["name"]: line["note"] for line in frame["intervals"]} for key, frame in every_frame(method_explorer)
    }
    assert notes["both", "animals", "5"] == {
        "scratch": "-27.0: less",
        "scratch, longer": "-26.0: less",
        "linear probe": "best on valid photos",
        "full": "+0.5: the same within 2 points",
    }
    assert notes["vehicles", "animals", "20"]["linear probe"] == "-15.0: less"


def test_a_method_without_runs_at_a_setting_is_left_out_there():
    rows = map_rows()
    some = rows[(rows["method"] != "scratch, longer") | (rows["per_class"] == 20)]
    shown = course.method_explorer(some)
    for (_, _, size), frame in every_frame(shown):
        names = [line["name"] for line in frame["intervals"]]
        assert ("scratch, longer" in names) == (size == "20")


def test_the_still_picture_of_the_methods_says_all_their_numbers(method_explorer):
    for state in ([0, 0, 0], [1, 1, 1]):
        method_explorer.state = state
        words = re.search(r'<img alt="([^"]*)"', method_explorer.picture().data).group(1)
        assert method_explorer.frame["sentence"] in words
        for line in method_explorer.frame["intervals"]:
            assert f"{line['name']}: {line['mean']:.1%}, {line['low']:.1%} to {line['high']:.1%}" in words
