"""A line reader without a page: the messages that it would send, and the still picture."""

import re
import threading

import pytest
import torch

from transfer_utils import backbones, data, show, training
from transfer_utils.show import lines

SIZE = 24
TOPICS = ("animal", "food", "act")
EXAMPLES = ("a small bird with a short tail", "bread baked in a pan")


@pytest.fixture(scope="module")
def model():
    return backbones.course_gpt(0)


@pytest.fixture(scope="module")
def known():
    return data.load_texts("topics").only(*TOPICS).take(12)


@pytest.fixture(scope="module")
def heads(model, known):
    bank = training.extract(model, known, SIZE)
    rows = {labels: torch.cat([torch.nonzero(known.labels == i)[:labels, 0] for i in range(3)]) for labels in (2, 12)}
    return {labels: training.linear_probe(bank[draw], known.labels[draw], 0.01) for labels, draw in rows.items()}


@pytest.fixture
def reader(model, known, heads):
    return show.LineReader(model, known, heads, SIZE, EXAMPLES)


def ask(reader, line, number=1):
    reader._take({"act": "read", "number": number, "line": line})
    return reader.frame


def shares(answer) -> dict[str, float]:
    return dict(answer["shares"])


def test_the_first_example_is_answered_from_the_start(reader):
    assert reader.frame["line"] == EXAMPLES[0] == reader.examples[0]
    assert reader.frame["number"] == 0
    assert reader.chosen == {"labels per topic": "12"}
    assert list(shares(reader.answer)) == list(TOPICS)


def test_answers_are_those_of_the_heads(reader, model, known, heads):
    line = "the flesh of a fish eaten as food"
    frame = ask(reader, line, number=7)
    found = training.extract(model, data.TextSet([line], torch.tensor([0]), TOPICS), SIZE)
    assert frame["number"] == 7
    for answer, labels in zip(frame["answers"], (2, 12), strict=True):
        expected = heads[labels].linear()(found)[0].softmax(0)
        assert [share for _, share in answer["shares"]] == pytest.approx(expected.tolist(), abs=1e-4)
        best = TOPICS[int(heads[labels].predict(found))]
        said = f"With {labels} labels per topic: {best}, with a probability of {expected.max():.0%}."
        assert answer["sentence"] == said


def test_another_number_of_labels_is_another_answer_that_is_there_already(reader):
    few, many = reader.frame["answers"]
    assert few["shares"] != many["shares"]
    before = reader.frame
    reader.state = [0]
    assert reader.answer == few
    assert reader.frame is before
    assert few["sentence"] in reader.sentence()


def test_a_sentence_says_how_the_answer_changes_with_labels(reader):
    best = [max(answer["shares"], key=lambda pair: pair[1]) for answer in reader.frame["answers"]]
    (few, low), (many, high) = best
    assert reader.frame["change"] == f"With 2: {few} {low:.0%}; with 12: {many} {high:.0%}."


def test_heads_come_in_the_order_of_their_labels(model, known, heads):
    reader = show.LineReader(model, known, {12: heads[12], 2: heads[2]}, SIZE, EXAMPLES)
    assert reader.controls[0]["options"] == ["2", "12"]


# --- neighbours -----------------------------------------------------------------------------------------------------


def test_neighbours_are_the_most_alike_known_lines_with_their_topics(reader, model, known):
    frame = ask(reader, "bread made of wheat")
    bank = training.extract(model, known, SIZE)
    query = training.extract(model, data.TextSet(["bread made of wheat"], torch.tensor([0]), TOPICS), SIZE)
    positions = training.nearest(torch.cat([bank, query]), [len(bank)], 5)[0].tolist()
    assert [line for line, _, _ in frame["neighbours"]] == [known.texts[i] for i in positions]
    assert [(label, name) for _, label, name in frame["neighbours"]] == [
        (int(known.labels[i]), TOPICS[known.labels[i]]) for i in positions
    ]


def test_a_known_line_is_no_neighbour_of_itself_and_all_others_may_be(reader, known, monkeypatch):
    monkeypatch.setattr(lines, "NEIGHBOURS", 100)
    near = [line for line, _, _ in ask(reader, known.texts[3])["neighbours"]]
    assert sorted(near) == sorted(text for text in known.texts if text != known.texts[3])
    assert len(ask(reader, "a line that nobody knows")["neighbours"]) == len(known)


# --- what may come --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["", "   ", "\n"])
def test_an_empty_line_is_told_what_to_do(reader, line):
    before = reader.frame
    ask(reader, line, number=5)
    assert reader.problem["number"] == 5
    assert "Type a line of English" in reader.problem["said"]
    assert reader.frame is before


def test_a_failure_becomes_a_sentence_and_leaves_the_way_free(reader, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(reader.model, "encode", lambda *_: 1 / 0)
        ask(reader, "a bird", number=3)
    assert reader.problem == {"number": 3, "said": "No answer: division by zero"}
    assert ask(reader, "a bird", number=4)["number"] == 4


@pytest.mark.parametrize("message", [{}, {"act": "dance"}, {"act": "read"}, {"act": "read", "number": 1, "line": 3}])
def test_messages_with_something_missing_do_no_harm(reader, message):
    reader._take(message)
    assert reader.frame["number"] == 0
    assert bool(reader.problem) == (message.get("act") == "read")


def test_a_lone_half_of_a_character_is_answered_or_refused_in_words(reader):
    ask(reader, "a bird \ud83d", number=2)
    assert 2 in (reader.frame["number"], reader.problem.get("number"))


def test_a_long_line_is_cut_and_what_is_not_read_is_said(reader):
    frame = ask(reader, "a bird of prey " * 100)
    assert len(frame["line"]) <= lines.MOST_TYPED == reader.most
    assert frame["note"] == f"The network reads {SIZE} tokens; what follows changes nothing."
    assert ask(reader, "a bird")["note"] == ""


def test_the_page_may_ask_while_a_cell_uses_the_network(reader, model, known):
    cell = threading.Thread(target=lambda: [training.extract(model, known, SIZE, cache=False) for _ in range(5)])
    expected = ask(reader, EXAMPLES[1])["answers"]
    cell.start()
    assert all(ask(reader, EXAMPLES[1])["answers"] == expected for _ in range(20))
    cell.join()


# --- a page without Python ------------------------------------------------------------------------------------------


def test_without_a_page_there_is_a_picture_with_alt_text_and_the_words(reader, displayed):
    reader._ipython_display_()
    bundle = displayed[0]
    (alt,) = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,', bundle["text/html"])
    assert alt.startswith(f"Ask about a line. {EXAMPLES[0]}. With 12 labels per topic: ")
    assert reader.frame["neighbours"][0][0] in alt.replace("&#x27;", "'").replace("&quot;", '"')
    assert f'data-still="{reader.token}"' in bundle["text/html"]
    assert bundle["text/plain"] == f"Ask about a line: {reader.sentence()}"


@pytest.mark.parametrize(
    "line", ["<script>alert(1)</script> a bird", '"><img src=x onerror=alert(1)>', "$a bird$ $x^$"]
)
def test_hostile_lines_stay_words(reader, line):
    ask(reader, line)
    html = reader.still()["text/html"]
    assert reader.frame["line"] == line
    assert "<script" not in html
    assert html.count("<img") == 1


# --- what a reader is made of ---------------------------------------------------------------------------------------


def test_a_reader_without_heads_or_lines_is_refused(model, known, heads):
    for none in (
        {},
        None,
        list(heads.values()),
        {2: heads[2].linear()},
        {"two": heads[2]},
        {2: heads[2], "two": heads[2]},
    ):
        with pytest.raises(ValueError, match=r"LineReader\(\) got heads (at|of type) .* at least one head"):
            show.LineReader(model, known, none, SIZE, EXAMPLES)
    for examples in ([], "a bird", None, [3], ["a bird", " "]):
        with pytest.raises(ValueError, match="a list of lines to start with, none of them empty"):
            show.LineReader(model, known, heads, SIZE, examples)


def test_a_head_for_other_features_is_refused(model, known):
    other = training.linear_probe(torch.randn(6, 5), torch.arange(6) % 3)
    with pytest.raises(
        ValueError, match=r"a head at 2 labels that reads 5 features, and the network gives 192\. Fit it"
    ):
        show.LineReader(model, known, {2: other}, SIZE, EXAMPLES)


def test_known_lines_are_a_set_of_lines(model, known, heads):
    for none in (list(known.texts), None, data.load(split="valid")[:4]):
        with pytest.raises(TypeError, match="it needs a labelled set of them: TextSet"):
            show.LineReader(model, none, heads, SIZE, EXAMPLES)


def test_a_wrapped_network_is_asked_as_it_is_itself(model, known, heads, reader):
    wrapped = show.LineReader(torch.nn.DataParallel(model), known, heads, SIZE, EXAMPLES)
    assert ask(wrapped, "bread made of wheat") == ask(reader, "bread made of wheat")


def test_a_line_that_is_all_that_is_known_has_no_neighbours(model, known, heads):
    reader = show.LineReader(model, known[[0]], heads, SIZE, [known.texts[0]])
    assert reader.frame["neighbours"] == []
    assert reader.still()["text/html"]
    assert len(ask(reader, "bread")["neighbours"]) == 1


def test_a_head_for_other_topics_is_refused(model, known, heads):
    with pytest.raises(ValueError, match="a head for 3 topics at 2 labels, and the known lines have 2: animal, food"):
        show.LineReader(model, known.only("animal", "food"), heads, SIZE, EXAMPLES)


def test_a_network_that_reads_photos_is_refused(known, heads):
    with pytest.raises(TypeError, match="reads photos"):
        show.LineReader(backbones.course_resnet(3, seed=0), known, heads, SIZE, EXAMPLES)
