"""The shipped configs carry what the tables' entries were tuned to, and are the tables' rows."""

import ast
import json

import pytest
from invented_tables import found

from dtn_jax.config import base_config, flatten, identity, load_config
from dtn_jax.errors import UserError
from experiments import tuned_configs
from experiments.results_table import PAPER, RESULTS
from experiments.tables import pack
from experiments.tuned_configs import CONFIGS, written

TEXT = '''"""A set.

TUNED has nothing yet.
"""

TUNED = {}


def get_config(argument=""):
    return {}
'''
TABLE = found({"dtn": 0.7, "mmoe": 0.71, "ple": 0.72})
ALONE = {
    "data.batch_size": "256",
    "train.epochs": "5",
    "optim.schedule": "cosine",
    "model.mlp.hidden": "(128,)",
}  # what configs/adult.py changes
CHOSEN = {"model.experts": "mlp*2", "optim.learning_rate": "0.002", "optim.clip": "2.5"}
for row in TABLE["rows"]:
    row["config"] = ALONE | CHOSEN | {"model.architecture": row["architecture"]}
TABLE["rows"][2]["name"] = "an ablation"
SHIPPED = [p.stem for p in sorted(CONFIGS.glob("*.py")) if "\nTUNED = " in p.read_text()]


def parts(text):
    """The docstring, and the value of TUNED."""
    tree = ast.parse(text)
    value = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    return ast.get_docstring(tree), ast.literal_eval(value)


@pytest.mark.parametrize("times", [1, 2])
def test_a_config_gets_its_tables_settings_and_figures(times):
    text = TEXT
    for _ in range(times):  # the second finds what the first wrote
        text = written(text, "adult", TABLE)
    told, tuned = parts(text)
    chosen = {"model.experts": "mlp*2", "optim.clip": 2.5, "optim.learning_rate": 0.002}
    assert tuned == {"dtn": chosen, "mmoe": chosen}
    assert "paper_tables --dataset=adult" in told
    assert "62 seconds" in told
    assert "order@click 0.70002 ± 0.00001" in " ".join(told.split())
    assert text.endswith(TEXT.partition("TUNED = {}\n")[2])
    assert max(map(len, text.splitlines())) <= 100
    assert "click@all" not in told  # of which there are too few positives


@pytest.mark.parametrize("lacking", ["TUNED = {}", "TUNED has nothing"])
def test_a_config_without_a_place_for_them_is_refused(lacking):
    with pytest.raises(UserError, match=r"configs/adult\.py has no text like"):
        written(TEXT.replace(lacking, "nothing"), "adult", TABLE)


def test_the_shipped_configs_are_up_to_date():
    tuned_configs.main(["--check"])


def test_a_config_that_was_edited_is_told(tmp_path, monkeypatch):
    name = SHIPPED[0]
    text = (CONFIGS / f"{name}.py").read_text()
    (tmp_path / f"{name}.py").write_text(text.replace("TUNED = {\n", 'TUNED = {\n    "x": {},\n'))
    monkeypatch.setattr(tuned_configs, "CONFIGS", tmp_path)
    with pytest.raises(UserError, match=rf"{name}\.py is not what"):
        tuned_configs.main(["--check"])
    tuned_configs.main([])
    assert (tmp_path / f"{name}.py").read_text() == text


@pytest.mark.parametrize("name", SHIPPED)
def test_a_tuned_config_is_its_tables_row(name):
    """The runs of `overall` are those of `configs/NAME.py:ARCHITECTURE` with their seeds."""
    kept = pack.read(RESULTS / PAPER / name).values()
    defaults = {key: str(value) for key, value in flatten(base_config()).items()}
    trained = [defaults | identity(cell["config"]) for cell in kept if "results" in cell]
    rows = json.loads((RESULTS / PAPER / name / "overall.json").read_text())["rows"]
    architectures = {row["architecture"] for row in rows if row["name"] == row["architecture"]}
    assert "dtn" in architectures
    for architecture in architectures:
        config = load_config(f"configs/{name}.py:{architecture}")
        for config.seed in (1, 2):
            assert defaults | {k: str(v) for k, v in identity(config).items()} in trained
