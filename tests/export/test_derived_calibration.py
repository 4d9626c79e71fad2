"""Calibrations that would spoil what is derived from their tasks: mended together, or given up."""

import dataclasses

import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.export import calibration, fit_calibration
from dtn_jax.export.write import derived_calibration
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.scores import Scores
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema("s", (Field("f", rows=2),), (Task("click"), Task("buy", also_report=("click",))))
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
    logits = calibration.apply(calibrations, validation.logits, SCHEMA)
    known = dataclasses.replace(validation, logits=logits)
    keys = [("click", "all"), ("buy", "all"), ("buy", "click")]
    return {f"{t}@{s}": log_loss(*known.of(t, s, SCHEMA)[:2]) for t, s in keys}


def harmless(choices, validation, tasks=("click", "buy")):
    return derived_calibration.harmless(choices, validation, SCHEMA, False, tasks)


def test_a_calibration_that_spoils_a_quotient_is_given_up():
    validation = scores()
    alone = fit_calibration.fit(validation, SCHEMA, False)
    alone["buy"] = fit_calibration.Choice({"method": "none"}, {}, "r")  # as for too few buys
    before, after = losses({}, validation), losses(alone, validation)
    assert after["click@all"] < before["click@all"] - 0.01
    assert after["buy@click"] > before["buy@click"] + 0.01
    kept = harmless(alone, validation)
    assert [c.calibration["method"] for c in kept.values()] == ["none", "none"]
    told = f"{after['buy@click']:.5f} with it, {before['buy@click']:.5f} without any calibration"
    assert f"makes buy@click worse, which is derived from it: log loss on validation {told}" in (
        kept["click"].reason
    )
    assert kept["buy"] == alone["buy"]


@pytest.mark.parametrize(
    ("rate", "too_often", "kept"),
    [(0.002, 3.0, "platt"), (0.01, 1.2, "platt"), (0.01, 1.8, "none")],
    ids=["27 orders", "a rise within noise", "a rise beyond noise"],
)
def test_a_rare_task_takes_the_calibration_of_another_only_where_it_is_sure(rate, too_often, kept):
    """Clicks are said too rarely and orders given a click too often: platt of click alone makes
    order@all worse."""
    order = Task("order", space="click", also_report=("all",))
    schema = Schema("s", (Field("f", rows=2),), (Task("click"), order))
    rng, rows = np.random.default_rng(1), 20_000
    z = rng.normal(size=(rows, 2))
    click = rng.random(rows) < 1 / (1 + np.exp(-z[:, 0] - 1))
    labels = np.stack([click, click & (rng.random(rows) < rate)], 1).astype("f4")
    logits = np.stack([z[:, 0], 0.1 * z[:, 1] + logit(too_often * rate)], 1).astype("f4")
    validation = Scores(logits, labels, np.ones(labels.shape, bool), np.ones(rows, "f4"))
    alone = fit_calibration.fit(validation, schema, False, "platt")
    alone["order"] = fit_calibration.Choice({"method": "none"}, {}, "r")
    found = derived_calibration.harmless(alone, validation, schema, False, ("click", "order"))
    assert found["click"].calibration["method"] == kept, found["click"].reason


def test_what_is_not_an_output_of_the_model_keeps_no_calibration_from_another():
    validation = scores()
    alone = fit_calibration.fit(validation, SCHEMA, False)
    alone["buy"] = fit_calibration.Choice({"method": "none"}, {}, "r")
    assert harmless(alone, validation, ("click",)) == alone


def test_both_parts_of_a_quotient_are_calibrated_where_that_helps_both():
    """Here buy's own gain is too small to be sure of, but a gain."""
    validation = scores()
    validation = dataclasses.replace(validation, logits=validation.logits * np.float32([1, 0.9]))
    alone = fit_calibration.fit(validation, SCHEMA, False)
    none = fit_calibration.Choice({"method": "none"}, {"none": 0.5, "platt": 0.4}, "r")
    platt = fit_calibration.fit(validation, SCHEMA, False, "platt")["buy"]
    alone["buy"] = none
    both = alone | {"buy": platt}
    before = losses({}, validation)
    spoilt, mended = (losses(c, validation)["buy@click"] for c in (alone, both))
    assert spoilt > before["buy@click"] >= mended
    kept = harmless(alone, validation)
    assert kept["click"] == alone["click"]
    assert kept["buy"].calibration == platt.calibration
    assert kept["buy"].reason.startswith("platt, for buy@click, which is derived from it")
    lost = fit_calibration.Choice({"method": "none"}, {"none": 0.4, "platt": 0.5}, "r")
    kept = harmless(alone | {"buy": lost}, validation)  # it would be worse by itself
    assert kept["buy"] == lost
    assert kept["click"].calibration["method"] == "none"


def test_one_method_for_all_where_it_is_asked_for():
    validation = scores()
    for way in ("platt", "isotonic"):
        found = fit_calibration.fit(validation, SCHEMA, False, way)
        assert [c.calibration["method"] for c in found.values()] == [way, way]
        assert found["buy"].reason == f"{way}, as asked for."
    none = fit_calibration.fit(validation, SCHEMA, False, "none")
    assert [c.calibration for c in none.values()] == [{"method": "none"}] * 2
    upside_down = dataclasses.replace(validation, logits=-validation.logits)
    found = fit_calibration.fit(upside_down, SCHEMA, False, "platt")["click"]
    assert found.calibration == {"method": "none"}
    assert "as platt cannot be fitted" in found.reason
    with pytest.raises(UserError, match=r"unknown calibration 'plat'.*auto, none, platt, isotonic"):
        fit_calibration.fit(validation, SCHEMA, False, "plat")
