"""Several runs as one model, the best state for a task, and narrower tables, from workdirs."""

import json
import re
import shutil

import numpy as np
import pytest
from called_programs import opened
from exported_runs import finished
from small_runs import small

from dtn_jax.analysis.finished import best_state
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.write import export_run, make_again
from dtn_jax.input.reader import in_order
from dtn_jax.run import build_run
from experiments import export


@pytest.fixture(scope="module")
def other_seed(prepared_dir, tmp_path_factory):
    """A run whose best state for `never_married` is another than the one it reports."""
    return finished(prepared_dir, tmp_path_factory.mktemp("other") / "run", seed=2)


def card_numbers(model):
    """Dense parameters, embedding parameters and FLOPs, as a card has them."""
    text = (model / "card.md").read_text()
    names = ("dense parameters", "embedding parameters", "forward FLOPs an example")
    found = (re.search(rf"\| {name} \| ([\d,]+)", text)[1] for name in names)
    return [int(number.replace(",", "")) for number in found]


@pytest.fixture
def batch(prepared_dir):
    data = build_run(small(prepared_dir)).data
    return next(in_order(data, "validation", 100, slice(0, 100)))


@pytest.mark.slow
def test_runs_of_two_seeds_become_their_mean(finished_run, other_seed, batch, tmp_path):
    out = tmp_path / "model"
    (tmp_path / "replicas").mkdir()
    for i, workdir in enumerate((finished_run, other_seed)):
        (tmp_path / f"replicas/replica_{i}").symlink_to(workdir)
    export.main([f"--workdir={tmp_path / 'replicas'}", f"--out={out}"])
    probabilities = []
    for workdir in (finished_run, other_seed):
        alone = opened(export_run([workdir], tmp_path / workdir.parent.name)).logits(batch)
        probabilities.append(1 / (1 + np.exp(-alone.astype(np.float64))))
    mean = np.mean(probabilities, axis=0)
    sizes = [card_numbers(folder) for folder in (tmp_path / finished_run.parent.name, out)]
    assert sizes[1] == [2 * number for number in sizes[0]]
    logits = opened(out).logits(batch)
    np.testing.assert_allclose(logits, np.log(mean) - np.log1p(-mean), rtol=0, atol=1e-5)
    assert model_folder.read_facts(out).members == (
        {"seed": 0, "step": 45, "selected_by": "mean"},
        {"seed": 2, "step": 45, "selected_by": "mean"},
    )
    make_again(out)
    np.testing.assert_array_equal(opened(out).logits(batch), logits)


@pytest.mark.slow
def test_the_best_state_for_a_task(other_seed, prepared_dir, batch, tmp_path):
    steps = json.loads((other_seed / "results.json").read_text())["best_steps"]
    assert steps["mean"] != steps["never_married"]
    given = [f"--workdir={other_seed}", f"--out={tmp_path / 'model'}"]
    export.main([*given, "--select=never_married"])
    found = opened(tmp_path / "model")
    chosen = {"seed": 2, "step": steps["never_married"], "selected_by": "never_married"}
    assert found.facts.members == (chosen,)
    card = (tmp_path / "model/card.md").read_text()
    assert "| state | the best state on validation for never_married |" in card
    run = build_run(small(prepared_dir, seed=2))
    state, step = best_state(run, other_seed)
    assert step == steps["mean"]
    reported = np.asarray(run.score_step(state, batch))
    assert np.abs(found.logits(batch) - reported).max() > 1e-3
    with pytest.raises(UserError, match="unknown value of --select 'clicks'"):
        export.main([*given, "--replace", "--select=clicks"])


def test_narrower_tables_are_compared_on_validation(finished_run, exported_model, tmp_path):
    out = tmp_path / "model"
    given = [f"--workdir={finished_run}", f"--out={out}"]
    export.main([*given, "--tables=int8", "--tasks=income"])
    told = json.loads((out / "card/measured.json").read_text())["tables"]
    results = json.loads((finished_run / "results.json").read_text())["validation"]
    assert set(told["exact_metrics"]) == {"income@all"}
    exact, stored = (told[f"{which}_metrics"]["income@all"] for which in ("exact", "stored"))
    assert exact["logloss"] == pytest.approx(results["income@all"]["logloss"], rel=1e-6)
    assert exact["auc"] == pytest.approx(results["income@all"]["auc"], rel=1e-6)
    assert 0 < abs(stored["logloss"] - exact["logloss"]) < 0.01
    assert not (out / "exact").exists()
    assert opened(out).facts.tasks == ("income",)
    dense, _, flops = card_numbers(out)
    whole = json.loads((finished_run / "results.json").read_text())
    assert card_numbers(exported_model)[::2] == [whole["parameters"], whole["flops_per_example"]]
    tower = 8 * 8 + 8 * 1  # of never_married: its two products
    assert flops == whole["flops_per_example"] - 2 * tower
    assert dense < whole["parameters"] - tower
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (out, exported_model)]
    assert sizes[0] < sizes[1]
    with pytest.raises(UserError, match="unknown task 'clicks'"):
        export.main([*given, "--replace", "--tasks=income,clicks"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "two of the workdirs have the seed 0"),
        ({"seed": 3, "train.max_steps": 44}, "they differ in train.max_steps"),
    ],
)
def test_runs_that_are_no_seeds_of_one_config_are_refused(finished_run, tmp_path, change, told):
    other = tmp_path / "run"
    other.mkdir()
    for name in ("config.json", "results.json", "metrics.jsonl"):
        shutil.copy(finished_run / name, other / name)
    facts = json.loads((other / "config.json").read_text())
    for key, value in change.items():
        section, _, name = key.rpartition(".")
        (facts["config"][section] if section else facts["config"])[name] = value
    (other / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=told):
        export_run([finished_run, other], tmp_path / "model")
    assert not (tmp_path / "model").exists()
