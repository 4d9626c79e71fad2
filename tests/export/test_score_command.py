"""`experiments.score` gives what the run predicted for its test rows, in a fresh process."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import own_log
import polars as pl
import pytest
from small_runs import small

from dtn_jax.datasets import adult
from dtn_jax.datasets.logs.schema.named_schema import with_meaning
from dtn_jax.export import calibration, model_folder, scores
from dtn_jax.export.write import export_run
from dtn_jax.train import train
from experiments import score

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def scored(model, given, output, *more):
    """Calls the command in a process of its own; returns what it wrote and said."""
    command = [sys.executable, "-m", "experiments.score", f"--model={model}", f"--input={given}"]
    done = subprocess.run(
        [*command, f"--output={output}", *more],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return pl.read_parquet(output), done.stdout


def predicted(model, workdir):
    """{output: what the run predicted for it, calibrated as the model is}."""
    schema = model_folder.read_schema(model)
    table = pl.read_parquet(workdir / "predictions.parquet")
    kinds = {task.name: "logit" if task.kind == "binary" else "score" for task in schema.tasks}
    logits = np.stack([table[f"{kind}/{name}"] for name, kind in kinds.items()], axis=1)
    found = calibration.read(model, schema)
    return scores.scores(logits, schema, schema.task_names, found)


def assert_same(got, expected):
    for name, values in expected.items():
        np.testing.assert_allclose(got[name].to_numpy(), values, rtol=1e-5, atol=1e-6)


def test_a_built_in_set(exported_model, finished_run, tmp_path):
    raw = pl.read_parquet(adult.FILE)[: adult.TEST_ROWS]
    raw.write_parquet(tmp_path / "day.parquet", row_group_size=5000)
    got, said = scored(exported_model, tmp_path / "day.parquet", tmp_path / "s.parquet")
    assert_same(got, predicted(exported_model, finished_run))
    assert got.drop("income@all", "never_married@all").equals(raw)
    assert f"{adult.TEST_ROWS:,} rows are scored" in said


def test_a_log_of_ones_own(tmp_path):
    frame = own_log.log(3000)
    data = own_log.prepared(tmp_path / "log", frame)
    schema = tmp_path / "log" / "shop.yaml"
    config = small(str(tmp_path / "log" / "data"), train__max_steps=6, train__eval_every=6)
    config.data.dataset = "logs"
    config.data.options = with_meaning(f"schema={schema}")
    train(config, tmp_path / "run")
    model = export_run([tmp_path / "run"], tmp_path / "model")
    rows = own_log.split_frames(frame)["test"]
    rows.write_ndjson(tmp_path / "day.jsonl")
    got, _ = scored(model, tmp_path / "day.jsonl", tmp_path / "s.parquet", "--tables=disk")
    assert len(got) == data.rows["test"]
    assert_same(got, predicted(model, tmp_path / "run"))


def test_what_is_missing_is_told(tmp_path, capsys):
    with pytest.raises(score.UserError, match="--model is missing"):
        score.main([])
    with pytest.raises(score.UserError, match="holds no model"):
        score.main([f"--model={tmp_path}", "--input=a", f"--output={tmp_path}/s.parquet"])


def test_a_bad_row_is_counted_or_ends_it(exported_model, tmp_path):
    rows = pl.read_parquet(adult.FILE)[:50].to_dicts()
    rows[20]["age"] = "old"
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "day.jsonl").write_text("\n".join(lines))
    given = (exported_model, tmp_path / "day.jsonl", tmp_path / "s.parquet")
    got, said = scored(*given, "--columns=age,_file")
    assert got.columns[:2] == ["age", "_file"]
    assert got["income@all"].null_count() == 1
    assert "1 of 50 rows have no scores: wrong type" in said
    assert "row 21, column 'age'" in said
