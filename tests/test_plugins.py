"""What a plug-in adds, and how its options are given."""

import pathlib
import re
import shutil
import sys

import pytest
from plugin_files import EXAMPLE, HEADS, names

from configs import adult
from dtn_jax.config import (
    base_config,
    checked_config,
    identity,
    load_config,
    override,
    plugins,
)
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.models.architectures import ARCHITECTURES, DTN
from dtn_jax.models.experts import EXPERTS
from dtn_jax.run import build_run
from experiments import command
from experiments.tables import protocol_files

ROOT = pathlib.Path(__file__).parents[1]

pytestmark = pytest.mark.usefixtures("unload")


def test_all_that_it_defines_is_there(unload):
    text = plugins.load(str(EXAMPLE))
    assert text == f"{EXAMPLE}#{plugins.loaded[EXAMPLE][0]}"
    known = ((ARCHITECTURES, "heads"), (EXPERTS, "product"), (DATASETS, "shop"))
    assert all(name in there for there, name in (*known, (METRICS, "brier"), (LOSSES, "hinge")))
    config = base_config()
    assert config.model.heads.count == 2
    assert config.model.product.power == config.loss.hinge.margin == 1.0


def test_a_second_time_nothing_happens(tmp_path):
    text = plugins.load(str(EXAMPLE))
    before = names()
    assert plugins.load(f"{EXAMPLE}, {EXAMPLE}") == f"{text},{text}"
    assert names() == before
    copy = tmp_path / "elsewhere" / "plugin.py"
    copy.parent.mkdir()
    shutil.copy(EXAMPLE, copy)
    assert plugins.load(str(copy)).startswith(f"{copy}#")
    assert names() == before


def test_a_changed_file_replaces_what_it_had_defined(write_plugin):
    plugins.load(str(write_plugin(HEADS)))
    assert base_config().model.heads.count == 2
    changed = HEADS.replace("option(2", "option(3")  # as long, and within the same second
    plugins.load(str(write_plugin(changed)))
    assert base_config().model.heads.count == 3
    plugins.load(str(write_plugin(HEADS.replace('"heads"', '"others"'))))
    assert "heads" not in ARCHITECTURES
    assert "others" in ARCHITECTURES
    plugins.load(str(write_plugin(f"{HEADS}\nCOUNT = 1")))
    assert "others" not in ARCHITECTURES
    assert base_config().model.heads.count == 2


def test_a_changed_file_that_cannot_be_leaves_what_it_had_defined(write_plugin):
    path = write_plugin(HEADS)
    plugins.load(str(path))
    before, loaded = names(), dict(plugins.loaded)
    for text in ("x = 1 / 0", HEADS + "\nEXPERTS = {'other': max}"):
        write_plugin(text)
        with pytest.raises(UserError):
            plugins.load(str(path))
        assert names() == before
        assert plugins.loaded == loaded


def test_another_content_than_the_one_asked_for(write_plugin):
    path = write_plugin(HEADS)
    asked = plugins.load(str(path))
    write_plugin(HEADS + "\nCOUNT = 1")
    with pytest.raises(UserError) as caught:
        plugins.load(asked)
    assert f"plug-in {path} is not the file of this run any more: its SHA-256 was" in str(
        caught.value
    )
    assert asked.rpartition("#")[2][:12] in str(caught.value)


def test_it_hides_no_module_of_its_name(write_plugin):
    plugins.load(str(write_plugin("import optuna\nassert optuna.Trial" + HEADS, "optuna.py")))
    assert "optuna.py" not in str(sys.modules["optuna"].__file__)


def test_subclasses_of_the_packages_architectures(write_plugin):
    text = """
class Mine(DTN):
    extra: int = option(1, "more")

class Wide(MMoE):
    pass

ARCHITECTURES = {"mine": Mine, "wide": Wide}
"""
    config = adult.get_config("model.architecture=dtn")
    plugins.use(config, str(write_plugin(text)))
    for name, counts in (("dtn", True), ("mine", True), ("wide", False)):
        config.model.architecture = name
        found = identity(config)
        assert ("model.fusion" in found) == counts  # an option that DTN and its heir have
        assert ("model.mine.extra" in found) == (name == "mine")
        assert ("model.mine.tsn" in found) == (name == "mine")
        checked_config(config)
    assert issubclass(ARCHITECTURES["mine"], DTN)


# ---------------------------------------------------------------- options and configs


def test_its_options_are_overridden_and_checked():
    config = load_config(f"configs/adult.py:heads,model.heads.count=4,plugins={EXAMPLE}")
    assert config.model.architecture == "heads"
    assert config.plugins == plugins.load(str(EXAMPLE))
    assert checked_config(config).model.heads.count == 4
    override(config, "model.heads.count", "0")
    with pytest.raises(UserError, match=r"model.heads.count=0: expected a whole number at least 1"):
        checked_config(config)
    with pytest.raises(UserError, match=r"unknown config key 'model.heads.conut'"):
        override(config, "model.heads.conut", "1")


def test_its_options_are_identity_where_it_is_used():
    config = load_config(f"configs/adult.py:heads,plugins={EXAMPLE}")
    assert identity(config)["model.heads.count"] == 2
    config.model.architecture = "mmoe"
    assert "model.heads.count" not in identity(config)


@pytest.mark.parametrize("given", ["--config.plugins={}", "--config=configs/adult.py:plugins={}"])
def test_help_shows_its_options(given, capsys):
    parser = command.parser("Does.", "python -m experiments.train --x")
    command.add_config(parser)
    with pytest.raises(SystemExit):
        parser.parse_known_args(["--help=model.heads", given.format(EXAMPLE)])
    shown = capsys.readouterr().out
    assert "--config.model.heads.count=2\n    projections a task [a whole number at le" in shown
    assert "power" not in shown


@pytest.mark.parametrize(
    "line", ["plugins.use(config, FILE)", "config.plugins = FILE"], ids=["use", "option"]
)
def test_a_config_file_may_name_it(line, tmp_path):
    text = f"""
from configs import adult
from dtn_jax.analysis.finished import read_config
from dtn_jax.config import plugins

FILE = {str(EXAMPLE)!r}

def get_config(argument):
    config = adult.get_config("")
    {line}
    config.model.architecture = "heads"
    return config
"""
    (tmp_path / "config.py").write_text(text)
    config = load_config(f"{tmp_path}/config.py")
    assert config.plugins == plugins.load(str(EXAMPLE))
    assert checked_config(config).model.heads.count == 2


def test_a_config_file_may_name_it_from_the_working_directory(tmp_path, monkeypatch):
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    text = """
from configs import adult

def get_config(argument):
    config = adult.get_config()
    config.plugins = "mine.py"
    return config
"""
    (tmp_path / "config.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert load_config("config.py").plugins == plugins.load("mine.py")


def test_the_command_adds_to_those_of_the_config_file(write_plugin):
    other = write_plugin(HEADS.replace('"heads"', '"others"'))
    spec = f"configs/adult.py:heads,plugins={EXAMPLE}"
    config = command.read_config(spec, [f"--config.plugins={other}"])
    assert config.plugins == plugins.load(f"{EXAMPLE},{other}")


def test_a_config_made_before_it_was_loaded_still_is_one():
    config = adult.get_config("model.architecture=mmoe")
    plugins.load(str(EXAMPLE))
    checked_config(config)
    config.model.architecture = "heads"
    with pytest.raises(UserError, match=r"the config has no 'model.heads.count'"):
        checked_config(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.architecture", "heads"),
        ("model.group_experts", "shared=product"),
        ("loss.tasks", "income=hinge"),
        ("data.dataset", "shop"),
        ("train.select", "income:brier"),
    ],
)
def test_what_is_used_belongs_to_the_run(key, value):
    """Its content, else, would be no part of the run's identity."""
    plugins.load(str(EXAMPLE))
    config = adult.get_config("model.architecture=dtn")
    plugins.check_used(config)
    override(config, key, value)
    name = re.split("[=:]", value)[-1]
    with pytest.raises(UserError, match=f"'{name}' is of plug-in {EXAMPLE}, which the config's"):
        build_run(config)
    plugins.use(config, str(EXAMPLE))
    plugins.check_used(config)


def test_one_that_is_named_and_not_loaded():
    config = adult.get_config("model.architecture=dtn")
    config.plugins = "/nowhere/mine.py"
    with pytest.raises(UserError, match=r"/nowhere/mine.py is not loaded; a config gets its plug"):
        build_run(config)


def test_the_examples_of_the_pages(tmp_path, monkeypatch):
    """The plug-in, and the protocol that puts it into a table."""
    for name in ("my_model.py", "my_table.py"):
        shutil.copy(ROOT / "docs/examples" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = protocol_files.load(tmp_path / "my_table.py")
    assert found.entries["mine"]["model.architecture"] in ARCHITECTURES
    spec = "configs/adult.py:soft_mmoe,plugins=my_model.py,model.soft_mmoe.temperature=0.5"
    checked_config(load_config(spec))
