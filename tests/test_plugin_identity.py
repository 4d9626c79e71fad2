"""A run, a prepared set and a cell belong to a plug-in's content, wherever it lies."""

import json
import shutil

import pytest
from plugin_files import EXAMPLE, HEADS

from configs import adult
from dtn_jax.analysis.finished import read_config
from dtn_jax.config import (
    base_config,
    checked_config,
    differing,
    identity,
    plugins,
)
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.workdir import Workdir
from experiments import prepare
from experiments.tables import cells

SCHEMA = Schema("shop", fields=(Field("item", rows=3),), tasks=(Task("click"),))
pytestmark = pytest.mark.usefixtures("unload")


def config_with(path) -> object:
    config = adult.get_config("model.architecture=dtn")
    plugins.use(config, str(path))
    config.model.architecture = "heads"
    return config


def test_a_run_belongs_to_its_content_wherever_it_lies(write_plugin, tmp_path):
    path = write_plugin(HEADS)
    before = config_with(path)
    Workdir(tmp_path / "run", checked_config(before), SCHEMA, "a1").close()
    stored = json.loads((tmp_path / "run/config.json").read_text())["config"]["plugins"]
    assert stored == plugins.load(str(path))
    moved = config_with(shutil.copy(path, write_plugin("", "elsewhere/mine.py")))
    assert moved.plugins != before.plugins
    Workdir(tmp_path / "run", checked_config(moved), SCHEMA, "a1").close()
    write_plugin(HEADS + "\nCOUNT = 1")
    changed = config_with(path)
    assert differing(identity(before), identity(changed)) == ["plugins"]
    with pytest.raises(UserError, match=r"belongs to another config.*\n  plugins: 'mine.py#"):
        Workdir(tmp_path / "run", checked_config(changed), SCHEMA, "a1")


def test_a_finished_run_is_read_wherever_its_plug_in_lies(write_plugin, tmp_path, unload):
    path = write_plugin(HEADS)
    config = config_with(path)
    config.model.heads.count = 5
    Workdir(tmp_path / "run", checked_config(config), SCHEMA, "a1").close()
    (tmp_path / "run/results.json").write_text("{}")
    assert read_config(tmp_path / "run", base_config()) == config
    moved = path.rename(write_plugin("", "elsewhere/mine.py"))
    with pytest.raises(UserError, match=f"plug-in {path} is not there"):
        read_config(tmp_path / "run", base_config())
    found = read_config(tmp_path / "run", base_config(), str(moved))
    assert (found.plugins, found.model.heads.count) == (plugins.load(str(moved)), 5)
    other = write_plugin(HEADS.replace('"heads"', '"others"'), "other.py")
    with pytest.raises(UserError, match=r"has the plug-ins mine.py#\w+, got other.py#\w+$"):
        read_config(tmp_path / "run", base_config(), str(other))


def test_a_cell_belongs_to_its_content_wherever_it_lies(write_plugin, tmp_path):
    data = type("Data", (), {"fingerprint": "a1"})
    path = write_plugin(HEADS)
    name = cells.name_of(config_with(path), data)
    moved = shutil.copy(path, write_plugin("", "elsewhere/mine.py"))
    assert cells.name_of(config_with(moved), data) == name
    write_plugin(HEADS + "\nCOUNT = 1")
    assert cells.name_of(config_with(path), data) != name


def test_a_prepared_set_belongs_to_its_content_wherever_it_lies(tmp_path, capsys):
    path = tmp_path / "mine.py"
    shutil.copy(EXAMPLE, path)
    arguments = ["--dataset=shop", f"--data_dir={tmp_path / 'data'}"]
    prepare.main([f"--plugins={path}", *arguments])
    assert "3,000 train, 1,000 validation, 1,000 test" in capsys.readouterr().out
    first = catalog.load("shop", data_dir=str(tmp_path / "data"))
    moved = shutil.copy(path, tmp_path / "moved.py")
    prepare.main([f"--plugins={moved}", *arguments])
    assert "Preparing" not in capsys.readouterr().out
    path.write_text(EXAMPLE.read_text().replace("lognormal(", "lognormal(1.0, "))  # raw() does
    with pytest.raises(UserError, match=r"shop/1.0.0 was prepared by another version of its plug"):
        prepare.main([f"--plugins={path}", *arguments])
    shutil.rmtree(tmp_path / "data/shop")
    prepare.main([f"--plugins={path}", *arguments])
    assert catalog.load("shop", data_dir=str(tmp_path / "data")).fingerprint != first.fingerprint
