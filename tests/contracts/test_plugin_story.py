"""One file outside the repository adds an architecture, an expert, a data set, a metric and a loss.

With nothing of the package touched they are prepared, trained, explained and exported; in a
paper's table it stands in test_protocols.py.
"""

import json
import pathlib
import re
import shutil

import pytest

from dtn_jax.cli import export, feature_importance, prepare, train
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.files import sha256

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = """
from dtn_jax.config import base_config, variant


def get_config(argument):
    config = base_config()
    config.data.dataset = "shop"
    config.data.batch_size = 256
    config.model.experts = "mlp"
    config.model.embedding_dim = config.model.expert_dim = 4
    config.model.mlp.hidden = config.model.tower_hidden = (4,)
    config.optim.learning_rate = config.optim.table_learning_rate = 0.02
    config.parallel.devices = 1
    config.train.max_steps = 3
    return variant(config, argument)
"""
RUN = "heads,model.experts=product+mlp,model.heads.count=3,loss.tasks=click=hinge"
LONG = "train.epochs=10,train.max_steps=0,train.eval_every=40,train.select=click:brier"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The user's folder."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(ROOT / "tests/plugin.py", folder)
    (folder / "shop.py").write_text(CONFIG)
    return folder


@pytest.fixture(autouse=True)
def in_the_users_folder(outside, unload, monkeypatch):
    monkeypatch.chdir(outside)
    monkeypatch.setenv("DTN_DATA_DIR", str(outside / "data"))


def command(argument: str, workdir: str | pathlib.Path, *more: str) -> list[str]:
    return [
        *(f"--config=shop.py:{argument}", "--config.plugins=plugin.py", f"--workdir={workdir}"),
        *more,
    ]


@pytest.mark.slow
def test_it_is_prepared_trained_and_explained(outside, capsys):
    prepare.main(["--plugins=plugin.py", "--dataset=shop"])
    shown = capsys.readouterr().out
    assert "Fields of shop" in shown
    assert f"In {outside / 'data/shop/1.0.0'}" in shown
    workdir = outside / "runs/explained"
    train.main(command(f"{RUN},{LONG}", workdir))
    assert "Brier" in capsys.readouterr().out
    found = json.loads((workdir / "results.json").read_text())
    for split in ("validation", "test", "test_per_task_best"):
        assert 0 < found[split]["click@all"]["brier"] < 0.5
    assert found["architecture"] == "heads"
    assert found["selected_by"] == "click:brier"

    feature_importance.main([f"--workdir={workdir}", "--methods=unknown", "--rows=300"])
    found = json.loads((workdir / "importance/importance.json").read_text())
    assert found["architecture"] == "heads"
    assert {"colour", "hour", "price"} <= set(re.findall(r"\w+", json.dumps(found)))


@pytest.mark.slow
def test_it_is_exported_without_its_code(outside):
    train.main(command("heads,model.experts=product", "runs/exported"))
    out = outside / "models/heads"
    export.main(["--workdir=runs/exported", f"--out={out}"])
    code = (outside / "plugin.py").read_bytes()
    assert not [p for p in out.rglob("*") if p.is_file() and b"class Heads" in p.read_bytes()]
    before = model_folder.read_manifest(out)
    assert before["plugins"] == [{"name": "plugin.py", "sha256": sha256(outside / "plugin.py")}]
    with pytest.raises(UserError, match="--plugins=FILE"):
        export.main([f"--again={out}"])
    (outside / "moved").mkdir()
    (outside / "moved/mine.py").write_bytes(code)
    export.main([f"--again={out}", "--plugins=moved/mine.py"])
    after = model_folder.read_manifest(out)
    assert after["program"]["made"] >= before["program"]["made"]
    assert after["files"].keys() == before["files"].keys()
