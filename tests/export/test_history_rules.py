"""How histories that were made from the log are to be made for rows to score: told with a model."""

import numpy as np
import polars as pl
import pytest

from configs.logs import get_config
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.errors import UserError
from dtn_jax.export import load
from dtn_jax.export.score_files import Job
from dtn_jax.export.serve.description import describe
from dtn_jax.export.serve.reading import read
from dtn_jax.export.write import export_run
from dtn_jax.train import train

SCHEMA = """
name: shop
fields:
  item:
  bought: {history: {of: item, where: order == 1, by: user, last: 4}}
  action: {beside: bought, value: act}
  ago: {beside: bought, gap: true}
tasks: [click]
time: t
"""
RULES = {
    "bought": "item of the earlier rows where order == 1 of the same user",
    "action": "of each of bought: act",
    "ago": "of each of bought: floor(log2(1 + s)), s seconds until this row",
}
ROWS = 1000
pytestmark = pytest.mark.slow


def log():
    rng = np.random.default_rng(0)
    names = {"item": 20, "user": 30, "order": 2, "act": 3, "click": 2}
    drawn = {name: rng.integers(0, most, ROWS) for name, most in names.items()}
    return pl.DataFrame({"t": np.arange(ROWS)} | drawn)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    (folder / "shop.yaml").write_text(SCHEMA)
    prepare(folder / "shop.yaml", log(), folder / "data", processes=1)
    config = get_config(f"shared_bottom,quick,schema={folder / 'shop.yaml'}")
    config.data.data_dir, config.train.max_steps = str(folder / "data"), 1
    config.model.experts, config.model.histories = "mlp", "din"
    train(config, folder / "run")
    export_run([folder / "run"], folder / "model", say=lambda told: None)
    return folder / "model"


def test_the_schema_over_http_says_how(exported):
    model = load(exported)
    fields = describe(model, read(model))["fields"]
    assert {field["name"]: field["made"] for field in fields if "made" in field} == RULES


def test_a_raw_file_without_a_history_is_told_how(exported, tmp_path):
    log().write_parquet(tmp_path / "raw.parquet")
    told = r"prepare made 'bought'.*: item of the earlier rows where"
    with pytest.raises(UserError, match=told):
        Job(load(exported), [str(tmp_path / "raw.parquet")], tmp_path / "scores.parquet")


def test_the_card_says_how_and_by_what_they_are_pooled(exported):
    card = (exported / "card.md").read_text()
    lines = {line.split(" | ")[0].strip("| "): line for line in card.splitlines()}
    for name, rule in RULES.items():
        assert rule in lines[name].replace("\\", "")
    assert "sequence, 4 values at most, din, of earlier values of item" in lines["bought"]
