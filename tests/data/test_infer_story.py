"""Three commands: a folder of Parquet logs, a schema file, a prepared set, a trained model."""

import datetime
import pathlib
import re
import shlex

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.preparation.prepared import read
from experiments import prepare, train

ROOT = pathlib.Path(__file__).parents[2]
ROWS = 4000
START = datetime.datetime(2026, 3, 1)
TASKS = ["click", "cart", "order", "like", "share", "hide", "watch_seconds"]


def log():
    """Six binary tasks, a regression, users, items, a list, a vector, prices and times."""
    draw = np.random.default_rng(0)
    user, item = draw.integers(0, 200, ROWS), draw.zipf(1.3, ROWS) % 300
    likes = draw.normal(size=200)[user] + draw.normal(size=300)[item]
    click = likes + draw.logistic(size=ROWS) > 0.5
    cart = click & (draw.random(ROWS) < 0.5)
    order = cart & (draw.random(ROWS) < 0.5)
    seconds = np.sort(draw.integers(0, 10 * 86_400, ROWS))
    bits = {name: (draw.random(ROWS) < 0.2).astype(int) for name in ("like", "share", "hide")}
    return pl.DataFrame(
        {
            "request id": [f"r-{n}" for n in range(ROWS)],
            "user_id": user,
            "item_id": [f"i{n}" for n in item],
            "t": [START + datetime.timedelta(seconds=int(n)) for n in seconds],
            "price": np.exp(draw.normal(3, 1, ROWS)),
            "tags": [draw.integers(0, 40, n).tolist() for n in draw.integers(0, 5, ROWS)],
            "embedding": pl.Series(draw.normal(size=(ROWS, 4)).tolist()),
            "click": click.astype(int),
            "cart": cart.astype(int),
            "order": order.astype(int),
            **bits,
            "watch_seconds": np.where(click, draw.exponential(30, ROWS), 0.0),
            "paid_with": ["card" if paid else None for paid in order],
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    frame = log()
    (tmp_path / "logs").mkdir()
    for place in range(4):
        part = frame[place * 1000 : (place + 1) * 1000]
        part.write_parquet(tmp_path / "logs" / f"{place}.parquet")
    return tmp_path


def test_from_raw_files_to_a_trained_model(folder, capsys):
    schema, data = folder / "shop.yaml", folder / "data"
    prepare.main(
        ["--infer", f"--input={folder}/logs", f"--out={schema}", f"--data_dir={data}"],
    )
    shown = capsys.readouterr().out
    assert re.search(r"paid_with: known only after the fact\? It is missing in 0 %", shown)
    assert "'request id'" in shown or "request id: nearly unique" in shown
    _, *arguments = shlex.split(shown.splitlines()[-1].partition(" -m ")[2])
    prepare.main([*arguments, "--processes=1"])
    prepared = read(data / "logs" / "shop" / "1.0.0")
    assert [task.name for task in prepared.schema.tasks] == TASKS
    assert prepared.schema.tasks[2].upstream == ("cart",)
    assert prepared.schema.tasks[6].kind == "regression"
    kinds = {f.name: f.kind for f in prepared.schema.fields}
    assert list(kinds) == ["hour", "user_id", "item_id", "price", "tags", "embedding"]
    assert list(kinds.values())[1:] == ["categorical", "categorical", "numeric", "bag", "vector"]
    assert prepared.schema.group == "user_id"
    small = "model.experts=mlp,model.mlp.hidden=4,model.expert_dim=4,model.tower_hidden=4"
    config = f"configs/logs.py:shared_bottom,schema={schema},quick,train.max_steps=3,{small}"
    train.main(
        [
            f"--config={config}",
            f"--config.data.data_dir={data}",
            "--config.data.batch_size=64",
            "--config.parallel.devices=1",
            f"--workdir={folder}/run",
        ]
    )
    assert (folder / "run").is_dir()
    assert "order" in capsys.readouterr().out
