"""Files of one's own: what they add, and that they add it once."""

import shutil
import sys

import plugin_files
import pytest
from plugin_files import EXAMPLE, HEADS, names

from configs import adult
from dtn_jax.config import base_config, checked_config, identity, plugins
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.models.architectures import ARCHITECTURES, DTN
from dtn_jax.models.experts import EXPERTS

write = plugin_files.write

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


def test_a_changed_file_replaces_what_it_had_defined(write):
    plugins.load(str(write(HEADS)))
    assert base_config().model.heads.count == 2
    changed = HEADS.replace("option(2", "option(3")  # as long, and within the same second
    plugins.load(str(write(changed)))
    assert base_config().model.heads.count == 3
    plugins.load(str(write(HEADS.replace('"heads"', '"others"'))))
    assert "heads" not in ARCHITECTURES
    assert "others" in ARCHITECTURES
    plugins.load(str(write(HEADS.replace("ARCHITECTURES", "LOSSES", 0) + "\nCOUNT = 1")))
    assert "others" not in ARCHITECTURES


def test_a_changed_file_that_cannot_be_leaves_what_it_had_defined(write):
    path = write(HEADS)
    plugins.load(str(path))
    before, loaded = names(), dict(plugins.loaded)
    for text in ("x = 1 / 0", HEADS + "\nEXPERTS = {'other': max}"):
        write(text)
        with pytest.raises(UserError):
            plugins.load(str(path))
        assert names() == before
        assert plugins.loaded == loaded


def test_another_content_than_the_one_asked_for(write):
    path = write(HEADS)
    asked = plugins.load(str(path))
    write(HEADS + "\nCOUNT = 1")
    with pytest.raises(UserError) as caught:
        plugins.load(asked)
    assert f"plug-in {path} is not the file of this run any more: its SHA-256 was" in str(
        caught.value
    )
    assert asked.rpartition("#")[2][:12] in str(caught.value)


def test_it_hides_no_module_of_its_name(write):
    plugins.load(str(write("import optuna\nassert optuna.Trial" + HEADS, "optuna.py")))
    assert "optuna.py" not in str(sys.modules["optuna"].__file__)


def test_subclasses_of_the_packages_architectures(write):
    text = """
class Mine(DTN):
    extra: int = option(1, "more")

class Wide(MMoE):
    pass

ARCHITECTURES = {"mine": Mine, "wide": Wide}
"""
    config = adult.get_config("dtn")
    plugins.use(config, str(write(text)))
    for name, counts in (("dtn", True), ("mine", True), ("wide", False)):
        config.model.architecture = name
        found = identity(config)
        assert ("model.fusion" in found) == counts  # an option that DTN and its heir have
        assert ("model.mine.extra" in found) == (name == "mine")
        assert ("model.mine.tsn" in found) == (name == "mine")
        checked_config(config)
    assert issubclass(ARCHITECTURES["mine"], DTN)
