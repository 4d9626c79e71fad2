"""Calibrations: what they do to logits, what is chosen where, and what is derived from them."""

import dataclasses
import json
import re

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from dtn_jax.errors import UserError
from dtn_jax.export import calibration, fit_calibration
from dtn_jax.metrics import Rows
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.scores import Scores
from dtn_jax.run.evaluate import evaluate
from dtn_jax.schema import Field, Schema, Task

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
ROWS = 8_000


def logit(p):
    return np.log(p) - np.log1p(-p)


def scores():
    """Both probabilities are too extreme in the same way, so that their quotient is right."""
    rng = np.random.default_rng(0)
    z, given = rng.normal(-1, 1, ROWS), rng.uniform(0.1, 0.9, ROWS)
    click = rng.random(ROWS) < 1 / (1 + np.exp(-z))
    buy = click & (rng.random(ROWS) < given)
    said = 1 / (1 + np.exp(-2 * z - 0.5))
    logits = np.stack([logit(said), logit(said * given)], 1).astype("f4")
    labels = np.stack([click, buy], 1).astype("f4")
    return Scores(logits, labels, np.ones(labels.shape, bool), np.ones(ROWS, "f4"))


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
