"""What a plug-in adds, how its options are given, and what belongs to its content."""

import json
import re
import shutil
import sys

import pytest
from claimed_folders import SCHEMA
from plugin_files import EXAMPLE, HEADS, names
from refused_configs import refused

from configs import adult
from dtn_jax.analysis.finished import read_config
from dtn_jax.cli import command, prepare, train
from dtn_jax.config import (
    base_config,
    checked_config,
    differing,
    identity,
    load_config,
    override,
    plugins,
)
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.models.architectures import ARCHITECTURES, DTN
from dtn_jax.models.experts import EXPERTS
from dtn_jax.papertables.runs import name_of
from dtn_jax.run.run import build_run
from dtn_jax.run.workdir import Workdir

OTHERS = HEADS.replace('"heads"', '"others"')
pytestmark = pytest.mark.usefixtures("unload")


def config_with(path):
    config = adult.get_config("model.architecture=dtn")
    plugins.use(config, str(path))
    config.model.architecture = "heads"
    return config


# ---------------------------------------------------------------- what it adds


def test_all_that_it_defines_is_there_and_once(tmp_path):
    text = plugins.load(str(EXAMPLE))
    assert text == f"{EXAMPLE}#{plugins.loaded[EXAMPLE][0]}"
    known = ((ARCHITECTURES, "heads"), (EXPERTS, "product"), (catalog.DATASETS, "shop"))
    assert all(name in there for there, name in (*known, (METRICS, "brier"), (LOSSES, "hinge")))
    config = base_config()
    assert config.model.heads.count == 2
    assert config.model.product.power == config.loss.hinge.margin == 1.0
    before = names()
    assert plugins.load(f"{EXAMPLE}, {EXAMPLE}") == f"{text},{text}"
    copy = shutil.copy(EXAMPLE, tmp_path / "copy.py")
    assert plugins.load(str(copy)).startswith(f"{copy}#")
    assert names() == before


def test_a_changed_file_replaces_what_it_had_defined(write_plugin):
    """Unless it cannot be."""
    plugins.load(str(write_plugin(HEADS)))
    changed = HEADS.replace("option(2", "option(3")  # as long, and within the same second
    path = write_plugin(changed)
    asked = plugins.load(str(path))
    assert base_config().model.heads.count == 3
    before, loaded = names(), dict(plugins.loaded)
    for text in ("x = 1 / 0", HEADS + "\nEXPERTS = {'other': max}"):
        refused(plugins.load, str(write_plugin(text)))
        assert names() == before
        assert plugins.loaded == loaded
    plugins.load(str(write_plugin(OTHERS)))
    assert ("heads" in ARCHITECTURES, "others" in ARCHITECTURES) == (False, True)
    message = refused(plugins.load, asked)
    assert f"plug-in {path} is not the file of this run any more" in message
    assert asked.rpartition("#")[2][:12] in message


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


def test_its_options_are_overridden_checked_and_identity_where_it_is_used():
    config = load_config(f"configs/adult.py:heads,model.heads.count=4,plugins={EXAMPLE}")
    assert config.model.architecture == "heads"
    assert config.plugins == plugins.load(str(EXAMPLE))
    assert checked_config(config).model.heads.count == identity(config)["model.heads.count"] == 4
    assert "model.heads.conut" in refused(override, config, "model.heads.conut", "1")
    override(config, "model.heads.count", "0")
    assert "model.heads.count=0" in refused(checked_config, config)
    config.model.architecture = "mmoe"
    assert "model.heads.count" not in identity(config)


@pytest.mark.parametrize("given", ["--config.plugins={}", "--config=configs/adult.py:plugins={}"])
def test_help_shows_its_options(given, capsys):
    parser = command.Parser(train.__name__)
    with pytest.raises(SystemExit):
        parser.parse_known_args(["--help=model.heads", given.format(EXAMPLE)])
    shown = capsys.readouterr().out
    assert "--config.model.heads.count=2\n    projections a task [a whole number at le" in shown
    assert "power" not in shown


@pytest.mark.parametrize(
    "line",
    [f"plugins.use(c, {str(EXAMPLE)!r})", f"c.plugins = {str(EXAMPLE)!r}", "c.plugins = 'mine.py'"],
    ids=["use", "option", "working directory"],
)
def test_a_config_file_may_name_it(line, tmp_path, monkeypatch):
    shutil.copy(EXAMPLE, tmp_path / "mine.py")
    text = f"""
from configs import adult
from dtn_jax.config import plugins

def get_config(argument):
    c = adult.get_config("")
    {line}
    c.model.architecture = "heads"
    return c
"""
    (tmp_path / "config.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    config = load_config("config.py")
    assert config.plugins == plugins.load("mine.py" if "mine.py" in line else str(EXAMPLE))
    assert checked_config(config).model.heads.count == 2


def test_what_a_config_file_names_its_argument_may_name(write_plugin, tmp_path):
    """And several more in the argument itself."""
    text = f"""
from configs import adult
from dtn_jax.config import variant

def get_config(argument):
    c = adult.get_config("")
    c.plugins = {str(EXAMPLE)!r}
    return variant(c, argument)
"""
    (tmp_path / "config.py").write_text(text)
    assert load_config(f"{tmp_path}/config.py:heads").model.architecture == "heads"
    one, two = write_plugin(OTHERS), write_plugin(OTHERS.replace("others", "third"), "third.py")
    config = load_config(f"{tmp_path}/config.py:third,plugins={one},{two},model.third.count=5")
    assert (config.model.architecture, config.model.third.count) == ("third", 5)
    assert config.plugins == plugins.load(f"{EXAMPLE},{one},{two}")


def test_the_command_adds_to_those_of_the_config_file(write_plugin):
    other = write_plugin(OTHERS)
    spec = f"configs/adult.py:heads,plugins={EXAMPLE}"
    config = command.read_config(spec, [f"--config.plugins={other}"])
    assert config.plugins == plugins.load(f"{EXAMPLE},{other}")


def test_a_config_made_before_it_was_loaded_still_is_one():
    config = adult.get_config("model.architecture=mmoe")
    plugins.load(str(EXAMPLE))
    checked_config(config)
    config.model.architecture = "heads"
    assert "'model.heads.count'" in refused(checked_config, config)


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
    assert f"'{name}' is of plug-in {EXAMPLE}, which" in refused(build_run, config)
    plugins.use(config, str(EXAMPLE))
    plugins.check_used(config)
    config.plugins = "/nowhere/mine.py"
    assert "plug-in /nowhere/mine.py is not there" in refused(build_run, config)


# ---------------------------------------------------------------- what belongs to its content


def test_a_run_and_its_folder_belong_to_its_content_wherever_it_lies(write_plugin, tmp_path):
    path = write_plugin(HEADS)
    before = config_with(path)
    name = name_of(before, "a1")
    Workdir(tmp_path / "run", checked_config(before), SCHEMA, "a1").close()
    stored = json.loads((tmp_path / "run/config.json").read_text())["config"]["plugins"]
    assert stored == plugins.load(str(path))
    moved = config_with(shutil.copy(path, write_plugin("", "elsewhere/mine.py")))
    assert moved.plugins != before.plugins
    Workdir(tmp_path / "run", checked_config(moved), SCHEMA, "a1").close()
    assert name_of(moved, "a1") == name
    write_plugin(HEADS + "\nCOUNT = 1")
    changed = config_with(path)
    assert differing(identity(before), identity(changed)) == ["plugins"]
    with pytest.raises(UserError, match=r"belongs to another config.*\n  plugins: 'mine.py#"):
        Workdir(tmp_path / "run", checked_config(changed), SCHEMA, "a1")
    assert name_of(changed, "a1") != name


def test_a_finished_run_is_read_wherever_its_plug_in_lies(write_plugin, tmp_path):
    path = write_plugin(HEADS)
    config = config_with(path)
    config.model.heads.count = 5
    Workdir(tmp_path / "run", checked_config(config), SCHEMA, "a1").close()
    (tmp_path / "run/results.json").write_text("{}")
    assert read_config(tmp_path / "run", base_config()) == config
    moved = path.rename(write_plugin("", "elsewhere/mine.py"))
    message = refused(read_config, tmp_path / "run", base_config())
    assert f"plug-in {path} is not there" in message
    found = read_config(tmp_path / "run", base_config(), str(moved))
    assert (found.plugins, found.model.heads.count) == (plugins.load(str(moved)), 5)
    other = str(write_plugin(OTHERS, "other.py"))
    message = refused(read_config, tmp_path / "run", base_config(), other)
    assert re.search(r"has the plug-ins mine.py#\w+, got other.py#\w+$", message)


def test_a_prepared_set_belongs_to_its_content_wherever_it_lies(tmp_path, capsys):
    path = shutil.copy(EXAMPLE, tmp_path / "mine.py")
    arguments = ["--dataset=shop", f"--data_dir={tmp_path / 'data'}"]
    prepare.main([f"--plugins={path}", *arguments])
    assert "3,000 train, 1,000 validation, 1,000 test" in capsys.readouterr().out
    first = catalog.load("shop", data_dir=str(tmp_path / "data"))
    moved = shutil.copy(path, tmp_path / "moved.py")
    prepare.main([f"--plugins={moved}", *arguments])
    assert "Preparing" not in capsys.readouterr().out
    path.write_text(EXAMPLE.read_text().replace("lognormal(", "lognormal(1.0, "))  # raw() does
    message = refused(prepare.main, [f"--plugins={path}", *arguments])
    assert "shop/1.0.0 was prepared by another version of its plug-in" in message
    shutil.rmtree(tmp_path / "data/shop")
    prepare.main([f"--plugins={path}", *arguments])
    assert catalog.load("shop", data_dir=str(tmp_path / "data")).fingerprint != first.fingerprint
