"""The explorers without a browser: states, errors, and the still pictures that stand in for them."""

import re

import pytest
import torch
import traitlets

from transfer_utils import data, explorers, widgets

PHOTOS = data.load(split="valid").take(6, seed=0)


@pytest.fixture(scope="module")
def stage_explorer():
    rows = data.results("lesson02")
    rows = rows[rows["stage"].isin(["stem", "neck"])]
    banks = {"stem": torch.randn(60, 8), "neck": torch.nn.functional.one_hot(PHOTOS.labels).float()}
    return explorers.stages(rows, banks, PHOTOS, queries=[0, 30])


def test_every_combination_has_a_frame(stage_explorer):
    first, second = (len(control["options"]) for control in stage_explorer.controls)
    assert len(stage_explorer.frames) == first * second
    stage_explorer.state = [0, 0]
    assert stage_explorer.frame["sentence"].startswith("stem, 1 photos per class")


def test_a_state_that_does_not_exist_is_refused(stage_explorer):
    with pytest.raises(traitlets.TraitError, match=r"no state \[9, 0\]; positions go 0 to 1 \(stage\)"):
        stage_explorer.state = [9, 0]


def test_numbers_are_those_of_the_stored_rows(stage_explorer):
    rows = data.results("lesson02").query("stage == 'neck' and per_class == 10")
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
    hits = explorers.nearest(torch.nn.functional.one_hot(PHOTOS.labels).float(), [0, 30], count=5)
    assert (PHOTOS.labels[hits] == PHOTOS.labels[[0, 30]][:, None]).all()
    assert not (hits == torch.tensor([[0], [30]])).any()


def test_response_explorer_shows_the_photos_that_excite_a_channel_most():
    response = torch.rand(60, 4)
    shown = explorers.responses({"stem": response}, PHOTOS, channels=2, most=5)
    assert [len(row["tiles"]) for row in shown.frame["rows"]] == [5, 5]
    channel = int(shown.frame["rows"][0]["label"].split()[1])
    used = sorted({int(i) for c in (0, 1, 2, 3) for i in response[:, c].topk(5).indices})
    assert set(response[:, channel].topk(5).indices.tolist()) <= set(used)


def test_the_sprite_is_small():
    photos = data.load(split="valid").images[:200]
    assert len(widgets.sprite(photos)["url"]) < 150_000 * 4 / 3


def test_a_control_without_options_is_refused():
    with pytest.raises(ValueError, match="no options for 'stage'"):
        widgets.explore("empty", {"stage": []}, lambda i: {})


def test_network_explorer_has_a_frame_for_every_network_and_stage():
    bank = torch.nn.functional.one_hot(PHOTOS.labels).float()
    banks = {"before": {"stem": torch.randn(60, 4), "pool": bank}, "after": {"stem": bank, "pool": bank}}
    shown = explorers.networks(banks, PHOTOS, [0, 30])
    assert shown.chosen == {"network": "before", "stage": "pool"}
    assert len(shown.frames) == 4
    shown.state = [1, 0]
    assert shown.frame["sentence"].startswith("after, stem: ")
    assert "after" in re.search(r'alt="([^"]*)"', shown.picture().data).group(1)
