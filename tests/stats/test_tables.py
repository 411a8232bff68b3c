import math

import numpy as np
import pandas as pd
import pytest
import torch

from transfer_utils.stats import tables

TEXTS = [
    *("None", "NA", "nan", "NaN", "inf", "-inf", "007", "1e5", "1e-05", "1E+5", "0.10", "5.", "True", "False", "null"),
    *("TRUE", "FALSE"),
    *("", " ", " x ", "1,5", "-0,25", "1", "-1", "-0", "+1", 'a "quote"', '"', '"x"', "'", "a,b;c\td", "two\nlines"),
    *("12%\r100%", "123e45678901", "123456789012", "1e+999", "größer", "\ud800", "\0", "\u2028", "{}", "[1]", "=1+1"),
]
NUMBERS = [True, False, None, 0, 1, -1, 2**70, -(10**30), 1.0, 0.1, -0.0, 1e-5, 1e300, math.nan, math.inf, -math.inf]


def same(first, second) -> bool:
    return type(first) is type(second) and repr(first) == repr(second)


def stored(path, rows: list[dict]) -> list[dict]:
    tables.write(path, rows)
    return tables.read(path, ["seed"])


def row(seed=0, **measured) -> dict:
    return {"seed": seed, "seconds": 0.5, "peak_mb": 9, "versions": "v 1", **measured}


# --- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, "x" * 200_000], ids=lambda value: repr(value)[:20])
def test_every_value_comes_back_as_it_went_in(tmp_path, value):
    job = {"seed": value}
    (found,) = stored(tmp_path / "rows.csv", [{**row(value, test=value), "job": tables.job_key(job), "job_rows": 1}])
    assert same(found["seed"], value)
    assert same(found["test"], value)
    assert len((tmp_path / "rows.csv").read_bytes().splitlines()) == 2


@pytest.mark.parametrize("value", ["full, head 10x", "both", "cat or deer", "größer", "ab57801b8b21", 0.4722, 5, True])
def test_plain_words_and_numbers_stand_as_they_are(value):
    assert tables.to_cell(value) == str(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array([2.5]), 2.5),
        (torch.tensor(4), 4),
        (torch.tensor([[0.25]], requires_grad=True), 0.25),
        (torch.tensor(True), True),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
        (type("Text", (str,), {})("word"), "word"),
    ],
)
def test_scalars_become_pythons(value, plain):
    assert same(tables.as_scalar(value), plain)


@pytest.mark.parametrize(
    "value",
    [[1], (), {}, {1}, b"x", 1j, torch.ones(2), np.ones(3), np.array([]), np.datetime64("2020"), pd.NaT, object, len],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_scalar_is_refused(value):
    with pytest.raises(TypeError, match="cannot stand in a cell; give a text, a number, True, False or None"):
        tables.as_scalar(value)


# --- the returned table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [[1, None], [True, 1, 1.0], ["1", 1, None], [math.nan, 0, "a"], [2**70, 1], [2**63, -1], [0.5, 1], [None, None]],
    ids=str,
)
def test_settings_keep_their_types_and_sort_in_any_mixture(values):
    for order in (values, values[::-1]):
        table = tables.as_table([row(value) for value in order], ["seed"])
        assert sorted(map(repr, table["seed"].tolist())) == sorted(map(repr, values))
        assert list(table) == ["seed", "seconds", "peak_mb", "versions"]


def test_numbers_sort_before_texts_before_gaps():
    table = tables.as_table([row(value) for value in (None, "b", math.nan, 10, "a", 2.5)], ["seed"])
    assert [repr(value) for value in table["seed"]] == ["2.5", "10", "'a'", "'b'", "nan", "None"]


@pytest.mark.parametrize("values", [[1, None], [0.5, None], [None, 2.5], [math.nan, 1]])
def test_measured_numbers_with_gaps_are_floats(values):
    column = tables.as_table([row(seed, test=value) for seed, value in enumerate(values)], ["seed"])["test"]
    assert column.dtype == "float64"
    assert column.isna().sum() == 1


def test_columns_of_gaps_are_left_out_but_not_those_of_nan():
    assert list(tables.as_table([row(a=None, b=math.nan)], ["seed"]).columns[4:]) == ["b"]


# --- files that others touched --------------------------------------------------------------------------------------

GOOD = [
    {**row(seed), "job": tables.job_key({"seed": seed}), "job_rows": 1, "good": seed > 0, "test": seed / 4}
    for seed in range(3)
]


@pytest.fixture
def file(tmp_path):
    tables.write(tmp_path / "rows.csv", GOOD)
    return tmp_path / "rows.csv"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text + ",,,,,,\n",
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("True", "TRUE").replace("False", "FALSE"),
        lambda text: text.replace(",1,True,", ",1.0,True,").replace(",1,False,", ",1.0,False,"),  # pandas, beside a gap
        lambda text: text.replace(",0.25\n", ",0.250\n").replace(",0.5\n", ",5.0E-01\n"),
    ],
)
def test_what_spreadsheets_and_editors_do_is_read(file, change, capsys):
    file.write_bytes(change(file.read_text(encoding="utf-8")).encode())
    assert tables.read(file, ["seed"]) == GOOD
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 12, 20, 30])
def test_a_torn_last_line_is_left_out_and_said(file, cut, capsys):
    file.write_bytes(file.read_bytes()[:-cut])
    assert tables.read(file, ["seed"]) == GOOD[:2]
    assert "line 4 is damaged and is left out. Its run is made again." in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ["1,2", "1,0.5,9,v 1,{},1,True,0.25,7", '1,"0.5,9', "1,0.5,9,v 1,nurse,1,True,0.2", "1,0.5,9,v 1,[1],1,True,0"],
)
def test_a_damaged_line_costs_that_line_alone(file, line, capsys):
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], line, *lines[3:]]) + "\n")
    assert tables.read(file, ["seed"]) == [GOOD[0], GOOD[2]]
    assert "line 3 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", "seed,test\n", "seed", "seconds,versions\n", "seed;note\r\n"])
def test_an_empty_file_is_a_start(tmp_path, content):
    (tmp_path / "rows.csv").write_bytes(content.encode())
    assert tables.read(tmp_path / "rows.csv", ["seed"]) == []


@pytest.mark.parametrize(
    "content",
    [
        b"name,age\nAnn,7\n",
        b"name,job\nAnn,nurse\n",
        b"seed,test\n0,0.5\n",
        b"seed,seconds,versions,seed\n0,1,v,0\n",
        b"Dear all, this is a letter.",
        b"\x89PNG\r\n\x1a\n\0\0",
        b"PK\x03\x04rubbish",
        b"\0" * 50,
        "seed,seconds,versions\n".encode("utf-16"),
        b'{"seed": 0}',
    ],
)
def test_a_file_that_is_somebody_elses_is_refused(tmp_path, content):
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.csv is not a table that sweep\(\) wrote, and is left as it is"):
        tables.read(tmp_path / "rows.csv", ["seed"])


@pytest.mark.parametrize("cell", ['"0,25"', '"1,234"', '"-2,5"', '"2,5E-05"'])
def test_decimal_commas_are_refused(file, cell):
    file.write_text(file.read_text().replace("0.25", cell))
    with pytest.raises(ValueError, match="in column 'test': a spreadsheet saved it with decimal commas.*with points"):
        tables.read(file, ["seed"])


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder\. Give the path of a file"):
        tables.read(tmp_path, ["seed"])


@pytest.mark.parametrize("settings", [["seed"], ["seed", "note"], ["note"], []])
def test_an_older_file_goes_by_the_settings_that_it_has(tmp_path, settings):
    tables.write(tmp_path / "rows.csv", [row(note="a")])
    (found,) = tables.read(tmp_path / "rows.csv", settings)
    assert tables.job_of(found, settings) == tables.job_key({name: found[name] for name in settings})


@pytest.mark.parametrize("settings", [["rate"], ["seed", "rate"], ["rate", "seed"], ["Seed"]])
def test_an_older_file_without_a_setting_is_refused(tmp_path, settings):
    tables.write(tmp_path / "rows.csv", [row()])
    with pytest.raises(ValueError, match="has no column '(rate|Seed)', and does not say which jobs its rows are from"):
        tables.read(tmp_path / "rows.csv", settings)
