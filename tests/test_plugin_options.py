"""Options of a plug-in, and the configs that name it."""

import plugin_files
import pytest
from plugin_files import EXAMPLE, HEADS

from configs import adult
from dtn_jax.config import checked_config, identity, load_config, override, plugins
from dtn_jax.errors import UserError
from dtn_jax.run import build_run
from experiments import command

write = plugin_files.write

pytestmark = pytest.mark.usefixtures("unload")


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


def test_the_command_adds_to_those_of_the_config_file(write):
    other = write(HEADS.replace('"heads"', '"others"'))
    spec = f"configs/adult.py:heads,plugins={EXAMPLE}"
    config = command.read_config(spec, [f"--config.plugins={other}"])
    assert config.plugins == plugins.load(f"{EXAMPLE},{other}")


def test_a_config_made_before_it_was_loaded_still_is_one():
    config = adult.get_config("mmoe")
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
    ],
)
def test_what_is_used_belongs_to_the_run(key, value):
    """Its content, else, would be no part of the run's identity."""
    plugins.load(str(EXAMPLE))
    config = adult.get_config("dtn")
    plugins.check_used(config)
    override(config, key, value)
    name = value.rpartition("=")[2]
    with pytest.raises(UserError, match=f"'{name}' is of plug-in {EXAMPLE}, which the config's"):
        build_run(config)
    plugins.use(config, str(EXAMPLE))
    plugins.check_used(config)


def test_one_that_is_named_and_not_loaded():
    config = adult.get_config("dtn")
    config.plugins = "/nowhere/mine.py"
    with pytest.raises(UserError, match=r"/nowhere/mine.py is not loaded; a config gets its plug"):
        build_run(config)
