"""What becomes of scores: one ranking score of several tasks, its values, what it refuses, and the
same one everywhere; calibrations, what they do to logits, and what is chosen where."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import polars as pl
import pytest
from made_models import FRAME
from served import ROWS, serving
from sklearn.isotonic import IsotonicRegression

from dtn_jax.data import formula
from dtn_jax.errors import UserError
from dtn_jax.export import calibration, fit_calibration, ranking
from dtn_jax.export.ranking import names_of, parse
from dtn_jax.export.score_files import Job
from dtn_jax.metrics import Rows
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.scores import Scores
from dtn_jax.run.evaluate import evaluate
from dtn_jax.schema import Field, Schema, Task

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


# ---------------------------------------------------------------- calibrations


ONE = Schema("s", (Field("f", rows=2),), (Task("click"),))
SCHEMA = Schema(
    "s",
    (Field("f", rows=2),),
    (Task("click"), Task("order", space="click", also_report=("all",)), Task("time", "regression")),
)


def drawn(true, said, seed=0, rows=10_000, copies=1, group=False):
    """Rows of task click with log-odds true(z), of which a model says said(z), each `copies`
    times."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1.5, rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-true(z))))[:, None].astype(np.float32)
    logits, labels = (
        np.repeat(a.astype(np.float32), copies, axis=0) for a in (said(z)[:, None], labels)
    )
    who = np.repeat(np.arange(rows), copies) if group else None
    return Scores(logits, labels, np.ones(logits.shape, bool), np.ones(len(logits), "f4"), who)


def same(z):
    return z


def metrics(scores, schema, calibrations=None):
    """{task@space: metrics}, calibrated where calibrations are given."""
    logits = calibration.apply(calibrations or {}, scores.logits, schema)
    return evaluate(dataclasses.replace(scores, logits=logits), schema, 15, False)


def test_platt_is_chosen_where_logits_are_too_wide_and_helps_on_test():
    validation, test = (drawn(same, lambda z: 2 * z + 1, seed) for seed in (0, 1))
    choice = fit_calibration.fit(validation, ONE, weighted=False)["click"]
    assert choice.calibration["method"] == "platt", choice.reason
    assert choice.reason.startswith("calibrated by platt: the log loss is 0.")
    np.testing.assert_allclose(choice.calibration["slope"], 0.5, rtol=0.05)
    np.testing.assert_allclose(choice.calibration["intercept"], -0.5, atol=0.06)
    chosen = {"click": choice.calibration}
    before, after = (metrics(test, ONE, c)["click@all"] for c in (None, chosen))
    assert after["ece"] < 0.02 < 0.05 < before["ece"]
    assert after["logloss"] < before["logloss"] - 0.02
    assert after["auc"] == pytest.approx(before["auc"], abs=1e-6)
    assert after["mean_prediction"] == pytest.approx(after["base_rate"], rel=0.06)


def test_isotonic_is_chosen_where_no_line_fits():
    scores = drawn(lambda z: np.where(z > -1, 2.0, -2.0) + 0.1 * z, lambda z: z)
    assert fit_calibration.fit(scores, ONE, False)["click"].calibration["method"] == "isotonic"


def test_calibration_is_off_where_it_does_not_help():
    choice = fit_calibration.fit(drawn(same, same), ONE, False)["click"]
    assert choice.calibration == {"method": "none"}
    why = r"not calibrated: no method lowers the log loss .*: 0\.\d+ without, 0\.\d+ by platt, "
    assert re.match(why + ".*--calibration=platt", choice.reason)
    few = fit_calibration.fit(drawn(same, lambda z: 3 * z, rows=60), ONE, False)["click"]
    assert few.calibration == {"method": "none"}
    needs = r"not calibrated: validation has \d+ positives and \d+ negatives in 60 rows"
    assert re.match(needs + ", and a fit needs 50 of each", few.reason)
    scores = drawn(same, same, rows=60)
    scores.logits[3] = np.nan
    with pytest.raises(UserError, match="1 rows of validation are not finite"):
        fit_calibration.fit(scores, ONE, False)


def test_rows_of_one_group_are_no_more_evidence_than_one():
    """A hundred copies of few rows look certain; as groups they do not."""
    slightly = {"true": same, "said": lambda z: 1.15 * z, "rows": 700, "copies": 12}
    alone = fit_calibration.fit(drawn(**slightly), ONE, False)["click"]
    grouped = fit_calibration.fit(drawn(**slightly, group=True), ONE, False)["click"]
    assert alone.calibration["method"] != "none"
    assert grouped.calibration["method"] == "none", grouped.reason


def test_each_task_is_fitted_on_the_rows_of_its_space():
    scores = drawn(same, same)
    rng = np.random.default_rng(3)
    z = rng.normal(0, 1.5, len(scores.logits))
    order = rng.random(len(z)) < 1 / (1 + np.exp(-z))
    clicked = scores.labels[:, 0] == 1
    labels = np.stack([clicked, np.where(clicked, order, 0), z], 1).astype("f4")
    logits = np.stack([scores.logits[:, 0], 2 * z, z], 1).astype("f4")
    both = Scores(logits, labels, np.ones(logits.shape, bool), scores.sample_weight)
    found = fit_calibration.fit(both, SCHEMA, False)
    assert [c.calibration["method"] for c in found.values()] == ["none", "platt", "none"]
    assert found["order"].calibration["slope"] == pytest.approx(0.5, rel=0.1)
    calibrations = {task: choice.calibration for task, choice in found.items()}
    after = metrics(both, SCHEMA, calibrations)
    for key in ("order@click", "order@all"):  # the product with p(click) is calibrated with it
        assert after[key]["mean_prediction"] == pytest.approx(after[key]["base_rate"], rel=0.05)


def isotonic(z, y):
    columns = [a[:, None].astype("f4") for a in (z, y)]
    scores = Scores(*columns, np.ones((len(z), 1), bool), np.ones(len(z), "f4"))
    return fit_calibration.fit(scores, ONE, False, "isotonic")["click"].calibration


def test_isotonic_is_that_of_scikit_learn_at_the_centre_of_each_level_part():
    rng = np.random.default_rng(0)
    z = np.sort(rng.normal(size=500))
    y = rng.random(500) < 1 / (1 + np.exp(-3 * z))
    y[:40], y[-30:] = False, True
    z = z.astype("f4").astype(float)  # as scores are
    found = isotonic(z, y)
    p = 1 / (1 + np.exp(-z))
    expected = IsotonicRegression().fit(p, y).predict(p)
    got = 1 / (1 + np.exp(-calibration.calibrated(found, z)))
    levels = np.unique(expected)[1:-1]
    assert len(levels) > 5
    for level in levels:
        centre = p[expected == level].mean()
        there = calibration.calibrated(found, np.log([centre / (1 - centre)]))
        np.testing.assert_allclose(1 / (1 + np.exp(-there)), level, atol=1e-9)
    assert expected.min() == 0 < got.min() < y.mean() / 40
    assert expected.max() == 1 > got.max() > 1 - 1 / 30


def test_isotonic_changes_no_ranking():
    """Level parts would make ties; an AUC would fall."""
    rng = np.random.default_rng(1)
    z = np.unique(rng.normal(size=3000).astype("f4")).astype(float)
    y = rng.random(len(z)) < np.where(z > 0, 0.6, 0.2)
    found = isotonic(z, y)
    assert len(found["observed"]) < 60
    beyond = np.concatenate([[-30.0], z, [30.0]])
    assert (np.diff(calibration.calibrated(found, beyond)) > 0).all()


def test_the_file_says_what_was_written_and_damage_is_told(tmp_path):
    written = {
        "click": {"method": "platt", "slope": 0.5, "intercept": -1.25},
        "order": {"method": "isotonic", "predicted": [0.1, 0.2], "observed": [0.05, 0.4]},
    }
    (tmp_path / "calibration.json").write_text(json.dumps(written))
    found = calibration.read(tmp_path, SCHEMA)
    assert found == written | {"time": {"method": "none"}}
    logits = np.array([[2.0, 0.0, 7.0], [-60, -60, -60]], "f4")
    got = calibration.apply(found, logits, SCHEMA)
    odds = [np.log(p / (1 - p)) for p in (0.4, 0.05)]
    np.testing.assert_allclose(got, [[-0.25, odds[0], 7], [-31.25, odds[1], -60]], rtol=1e-12)
    for damage in ([], {"click": {"method": "temperature"}}):
        (tmp_path / "calibration.json").write_text(json.dumps(damage))
        with pytest.raises(UserError, match=r"calibration\.json is missing or damaged"):
            calibration.read(tmp_path, SCHEMA)


# ---------------------------------------------------------------- what is derived


DERIVED = Schema("s", (Field("f", rows=2),), (Task("click"), Task("buy", also_report=("click",))))
DERIVED_ROWS = 8_000


def logit(p):
    return np.log(p) - np.log1p(-p)


def scores():
    """Both probabilities are too extreme in the same way, so that their quotient is right."""
    rng = np.random.default_rng(0)
    z, given = rng.normal(-1, 1, DERIVED_ROWS), rng.uniform(0.1, 0.9, DERIVED_ROWS)
    click = rng.random(DERIVED_ROWS) < 1 / (1 + np.exp(-z))
    buy = click & (rng.random(DERIVED_ROWS) < given)
    said = 1 / (1 + np.exp(-2 * z - 0.5))
    logits = np.stack([logit(said), logit(said * given)], 1).astype("f4")
    labels = np.stack([click, buy], 1).astype("f4")
    return Scores(logits, labels, np.ones(labels.shape, bool), np.ones(DERIVED_ROWS, "f4"))


def losses(choices, validation):
    """{task@space: log loss}"""
    calibrations = {task: choice.calibration for task, choice in choices.items()}
    logits = calibration.apply(calibrations, validation.logits, DERIVED)
    known = dataclasses.replace(validation, logits=logits)
    keys = [("click", "all"), ("buy", "all"), ("buy", "click")]
    return {f"{t}@{s}": log_loss(Rows("binary", *known.of(t, s, DERIVED)[:2])) for t, s in keys}


def harmless(choices, validation, tasks=("click", "buy")):
    return fit_calibration.harmless(choices, validation, DERIVED, False, tasks)


def test_a_calibration_that_spoils_a_quotient_is_given_up():
    validation = scores()
    alone = fit_calibration.fit(validation, DERIVED, False)
    alone["buy"] = fit_calibration.Choice({"method": "none"}, "r")  # as for too few buys
    before, after = losses({}, validation), losses(alone, validation)
    assert after["click@all"] < before["click@all"] - 0.01
    assert after["buy@click"] > before["buy@click"] + 0.01
    kept = harmless(alone, validation)
    assert [c.calibration["method"] for c in kept.values()] == ["none", "none"]
    assert kept["click"].reason.startswith("not calibrated: buy@click would be worse. ")
    assert kept["buy"] == alone["buy"]


def test_one_method_for_all_where_it_is_asked_for():
    validation = scores()
    for way in ("platt", "isotonic"):
        found = fit_calibration.fit(validation, DERIVED, False, way)
        assert [c.calibration["method"] for c in found.values()] == [way, way]
        assert found["buy"].reason == f"{way}, as --calibration={way} says."
    none = fit_calibration.fit(validation, DERIVED, False, "none")
    assert [c.calibration for c in none.values()] == [{"method": "none"}] * 2
    upside_down = dataclasses.replace(validation, logits=-validation.logits)
    found = fit_calibration.fit(upside_down, DERIVED, False, "platt")["click"]
    assert found.calibration == {"method": "none"}
    assert "platt cannot be fitted" in found.reason
