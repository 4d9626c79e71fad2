"""One ranking score of several tasks: its values, what it refuses, and the same one everywhere."""

import json
import pathlib
import re

import numpy as np
import polars as pl
import pytest
from made_models import FRAME
from served import ROWS, serving

from dtn_jax.data import formula
from dtn_jax.errors import UserError
from dtn_jax.export import ranking
from dtn_jax.export.ranking import names_of, parse
from dtn_jax.export.score_files import Job

OUTPUTS = ("click@all", "order@click", "order@all", "watch time@all")
SCORES = {
    "click@all": np.array([0.5, 0.2, 0.9]),
    "order@click": np.array([0.1, 0.9, 0.3]),
    "order@all": np.array([0.05, 0.18, 0.27]),
    "watch time@all": np.array([-1.0, 4.0, 9.0]),
}
PAGE = pathlib.Path(__file__).parents[2] / "docs/export.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        " click**1 *\n order**2 ": lambda c, o, a, w: c * o**2,
        "click * order@all": lambda c, o, a, w: c * a,
        "-log(click) / 2 + 1e-1": lambda c, o, a, w: -np.log(c) / 2 + 0.1,
        "2**-click - +order": lambda c, o, a, w: 2**-c - o,
        "click**order**2": lambda c, o, a, w: c ** (o**2),
        "max(`watch time`, 0, click)**0.5": lambda c, o, a, w: np.maximum(w, c) ** 0.5,
        "`watch time`@all**2": lambda c, o, a, w: w**2,
        "order@click * (click > 0.3)": lambda c, o, a, w: o * (c > 0.3),
        "`watch time@all` * 2": lambda c, o, a, w: w * 2,
        "`click@all`*2 + `order@all`": lambda c, o, a, w: c * 2 + a,
    }.items(),
)
def test_values_are_numpys(text, expected):
    found = parse(text, names_of(OUTPUTS)).score(SCORES)
    np.testing.assert_allclose(found, expected(*SCORES.values()), rtol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "2 - -x**0.5 / y",
        "x // y + x % y - round(2.5 * x)",
        "max(log(x), -5, y) + min(x, 2)",
        "log1p(x) * sqrt(y) + abs(y)",
        "(x > y) + 2 * (x <= 1) + 4 * (x != y) + 8 * (y == 0) + true",
        "0 < x < 3",
        "y + missing(x)",
        "x / y * 0",
    ],
)
def test_values_are_those_of_schema_files(text):
    """Also where they are missing."""
    x, y = (a.ravel() for a in np.meshgrid([-2.5, 0, 1, 7, np.nan], [-2.0, 0, 0.5, 3, np.nan]))
    values, _ = formula.parse(text, "").read(pl.DataFrame({"x": x, "y": y}), "number")
    found = parse(text, {"x": "x@all", "y": "y@all"}).score({"x@all": x, "y@all": y})
    np.testing.assert_allclose(found, values.cast(pl.Float64).fill_null(np.nan).to_numpy())


def test_a_server_waits_for_no_data_frame(monkeypatch):
    """Polars takes 100 times as long for the rows of a request."""
    score = parse("click * max(order, 1)**2 * (click > 0.1)", names_of(OUTPUTS)).score
    monkeypatch.setattr(formula, "Evaluation", None)
    monkeypatch.setattr(pl, "DataFrame", None)
    assert score(SCORES).shape == (3,)


def test_a_row_whose_value_is_not_finite_has_none():
    root = parse("`watch time`**0.5 + 0 * log(click - 0.2)", names_of(OUTPUTS)).score(SCORES)
    np.testing.assert_array_equal(np.isnan(root), [True, True, False])


@pytest.mark.parametrize(
    ("text", "told"),
    {
        "": "--rank '': it breaks off",
        "2": "--rank '2': it reads no task, expected one of click, order, watch time, click@all",
        "2 * clik": "unknown task in --rank 'clik'. Did you mean 'click'?",
        "click@al": "Did you mean 'click@all'?",
        "click @ order": "'@ order' at character 7 is not understood",
        "length(click)": "unknown function of numbers 'length'. The choices are: log, ",
        "click and order": "--rank 'click and order': click and order is none of numbers, names, +",
        "click == 'a'": "'a' is none of numbers",
        "click in [1, 2]": "click in [1, 2] is none of numbers",
    }.items(),
)
def test_what_is_no_expression_is_refused(text, told):
    with pytest.raises(UserError, match=re.escape(told)):
        parse(text, names_of(OUTPUTS))


@pytest.mark.parametrize("name", ["true", "in", "False"])
def test_a_task_with_the_name_of_a_word_stands_in_backquotes(name):
    outputs, scores = (f"{name}@all", "click@all"), {f"{name}@all": np.ones(2) / 4}
    scores["click@all"] = np.ones(2)
    for text in (f"`{name}` * click", f"{name}@all * click"):
        np.testing.assert_array_equal(parse(text, names_of(outputs)).score(scores), [0.25, 0.25])
    with pytest.raises(UserError, match=f"if {name} is the task, write `{name}`, in backquotes"):
        parse(f"{name} * click", names_of(outputs))


def test_a_task_with_the_name_of_a_function():
    found = parse("log(click) * log", {"log": "log@all", "click": "click@all"})
    assert found.score({"log@all": np.full(1, 2.0), "click@all": np.ones(1)}) == [0]


def test_a_tower_of_powers_ends_at_once():
    assert np.isnan(parse("9**9**9**9**9 * click", names_of(OUTPUTS)).score(SCORES)).all()


def test_the_pages_table_is_numpys():
    """Each row of the worked example, from its own numbers."""
    text = re.search(r"\| video \|.*`(.+)` \|\n", PAGE.read_text())[1]
    rows = re.findall(r"^\| [ABC] \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    table = np.array([[float(cell) for cell in row.split("|")] for row in rows])
    click, order, watch, expected = table.T
    assert len(table) == 3
    np.testing.assert_allclose(click * order**2 * np.sqrt(np.maximum(watch, 1)), expected)
    scores = {"click@all": click, "order@click": order, "watch@all": watch}
    np.testing.assert_allclose(parse(text, names_of([*scores])).score(scores), expected)


def test_rows_files_and_http_have_one_score(tmp_path):
    """Of a model whose prediction of a regression may be negative: then there is none."""
    text = "click * order@all**2 * (stars + 4.2)**0.5"
    with serving(tmp_path / "model", rank=text) as served:
        model = served.model
        assert model.outputs[-1] == "rank"
        assert model.meanings["rank"] == f"ranking score, {text}"
        own = model.score(FRAME)
        stars = own["stars@all"].to_numpy()
        with np.errstate(invalid="ignore"):
            expected = own["click@all"] * own["order@all"] ** 2 * np.sqrt(stars + 4.2)
        np.testing.assert_allclose(own["rank"], expected, rtol=1e-12)
        assert 0 < np.isnan(own["rank"].to_numpy()).sum() < len(FRAME)
        FRAME.write_parquet(tmp_path / "rows.parquet")
        out = tmp_path / "scores.parquet"
        list(Job(model, [str(tmp_path / "rows.parquet")], out, say=lambda told: None).run())
        of_file = pl.read_parquet(out)["rank"]
        assert of_file.null_count() == np.isnan(own["rank"].to_numpy()).sum()
        answer = served.score({"rows": ROWS, "outputs": ["rank"]})
        assert "NaN" not in answer.text
        answer = answer.json()["scores"]["rank"]
        for found in (of_file.to_list(), answer):
            found = [np.nan if value is None else value for value in found]
            np.testing.assert_allclose(found, own["rank"], rtol=1e-6)
        assert "rank" in json.dumps(served.client.get("/openapi.json").json())


def test_an_option_is_an_expression_or_a_file(tmp_path):
    path = tmp_path / "rank.json"
    path.write_text(json.dumps({"expression": "click * order", "gain": "click + 5*order"}))
    found = ranking.read_option(str(path), OUTPUTS)
    assert found.text == ranking.read_option("click * order", OUTPUTS).text
    assert list(found.gains) == ["click + 5*order"]
    assert ranking.read_option("", OUTPUTS) is None
    path.write_text("{}")
    for option, told in {str(path): "missing or damaged", "no.json": "missing or damaged"}.items():
        with pytest.raises(UserError, match=told):
            ranking.read_option(option, OUTPUTS)
    with pytest.raises(UserError, match="a task is called 'rank'"):
        ranking.read_option("click", ["click@all", "rank@all"])
