"""Files of one's own: what they add, and what is said of one that cannot be."""

import json
import pathlib
import re
import shutil
import sys

import pytest
from small_runs import small

from configs import adult
from dtn_jax.analysis.finished import read_config
from dtn_jax.config import (
    base_config,
    checked_config,
    differing,
    identity,
    load_config,
    override,
    plugins,
)
from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.errors import UserError
from dtn_jax.losses import LOSSES
from dtn_jax.metrics import METRICS
from dtn_jax.models.architectures import ARCHITECTURES, DTN
from dtn_jax.models.experts import EXPERTS
from dtn_jax.replicas import train_replicas
from dtn_jax.run import build_run
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.train import train
from dtn_jax.workdir import Workdir
from experiments import command, prepare
from experiments.tables import cells

EXAMPLE = pathlib.Path(__file__).parent / "plugin.py"
SCHEMA = Schema("shop", fields=(Field("item", rows=3),), tasks=(Task("click"),))
IMPORTS = """
import dataclasses
from typing import Any
from flax import linen as nn
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.models.architectures import ARCHITECTURES as OURS, Architecture, DTN, MMoE
from dtn_jax.options import option
"""
HEADS = """
class Heads(Architecture):
    count: int = option(2, "projections a task", least=1)

    @classmethod
    def layout(cls, schema, own):
        return (("shared",),)

    def __call__(self, inputs, train):
        raise TypeError("no model yet")

ARCHITECTURES = {"heads": Heads}
"""

pytestmark = pytest.mark.usefixtures("unload")


@pytest.fixture
def write(tmp_path):
    """Writes a plug-in; returns its file."""

    def written(text: str, name: str = "mine.py") -> pathlib.Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(IMPORTS + text)
        return path

    return written


@pytest.fixture
def refused(write):
    """Loads a plug-in that cannot be; returns the message, and nothing is added."""

    def call(text: str) -> str:
        before = names()
        path = write(text)
        with pytest.raises(UserError) as caught:
            plugins.load(str(path))
        assert names() == before
        assert path not in plugins.loaded
        assert str(caught.value).startswith(f"plug-in {path}")
        return str(caught.value)

    return call


def names() -> dict[str, dict]:
    return {name: dict(kind.known) for name, kind in plugins.KINDS.items()}


# ---------------------------------------------------------------- what is told


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"plug-in ~/no.py is not there \(looked for /.*/no.py\)"):
        plugins.load("~/no.py")
    with pytest.raises(UserError, match="is not there"):
        plugins.load(str(tmp_path))  # a folder


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("import nowhere_to_be_found", 1, "ModuleNotFoundError: No module named 'nowhere_to_"),
        ("x = 1\nclass Heads(", 2, "SyntaxError: "),
        ("def f():\n    return 1 / 0\n\nf()", 2, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_fails_is_told_with_its_line(text, line, reason, write):
    path = write("")
    path.write_text(text)
    before = set(sys.modules)
    with pytest.raises(UserError) as caught:
        plugins.load(str(path))
    assert f"plug-in {path} fails, line {line}: {reason}" in str(caught.value)
    assert not [name for name in set(sys.modules) - before if name.startswith("mine_")]


@pytest.mark.parametrize("text", ["", "ARCHITECTURES = {}", "ARCHITECTURES = OURS"])
def test_a_file_that_defines_nothing(text, refused):
    message = refused(text)
    assert "defines nothing: expected a dict {name: ...} called ARCHITECTURES, EXPERTS" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ARCHITECTURES = {'dtn': DTN}", "['dtn']: the name is taken, by ARCHITECTURES of the"),
        ("EXPERTS = {'dtn': DTN}", "EXPERTS['dtn']: the name is taken, by ARCHITECTURES of the"),
        ("LOSSES = {'pcgrad': 1}", "['pcgrad']: the name is taken, by BALANCERS of the package"),
        ("BALANCERS = {'none': 1}", "['none']: the name is taken, by a word of its section"),
        ("EXPERTS = {'x': 1}\nARCHITECTURES = {'x': 1}", "['x']: the name is taken, by EXPERTS of"),
        (f"{HEADS}\nARCHITECTURES = {{'dropout': Heads}}", "by the option model.dropout; choose"),
        (f"{HEADS}\nARCHITECTURES = {{'Heads': Heads}}", "a name is of lower-case letters, digits"),
        ("ARCHITECTURES = {3: DTN}", "ARCHITECTURES[3]: a name is of lower-case letters"),
        ("ARCHITECTURES = [DTN]", "expected a dict {name: ...}"),
        ("OURS['mine'] = DTN", "changes ARCHITECTURES of the package: give it a dict"),
        ("OURS['mine'] = DTN\nx = 1 / 0", "fails, line 9: ZeroDivisionError"),
        (
            f"{HEADS}\nclass Keyed(Heads):\n    o: int = option(1, 'own', key='model.dropout')\n"
            "ARCHITECTURES = {'keyed': Keyed}",
            "['keyed']: the name is taken, by the option model.dropout",
        ),
    ],
)
def test_a_name_that_is_taken(text, message, refused):
    assert message in refused(text)


def test_a_name_that_another_plug_in_has(write, refused):
    other = write(HEADS, "other.py")
    plugins.load(str(other))
    assert f"the name is taken, by ARCHITECTURES of plug-in {other}; choose" in refused(
        HEADS + "\n"
    )
    shared = HEADS.replace("ARCHITECTURES", "EXPERTS")
    assert f"the name is taken, by ARCHITECTURES of plug-in {other}; choose" in refused(shared)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ARCHITECTURES = {'x': max}", "expected a subclass of dtn_jax.models.architectures.Archi"),
        ("EXPERTS = {'x': max}", "expected a subclass of flax.linen.Module"),
        ("DATASETS = {'x': max}", "expected a subclass of dtn_jax.datasets.preparation.builder.Bl"),
        ("METRICS = {'x': max}", "expected a dtn_jax.metrics.metric.Metric"),
        ("LOSSES = {'x': max}", "expected a dataclass, its options the fields"),
        ("BALANCERS = {'x': max}", "expected a subclass of dtn_jax.balancing.balancer.Balancer"),
        (
            "class A(Architecture):\n    def __call__(self, inputs, train): ...\n"
            "ARCHITECTURES = {'x': A}",
            "it does not say which groups of experts it has: define the class method layout",
        ),
        (
            "class A(Architecture):\n    def layout(schema, own): ...\nARCHITECTURES = {'x': A}",
            "expected layout(cls, schema, own) to be a class method",
        ),
        (
            "class A(Architecture):\n    layout = classmethod(lambda cls, schema, own: ())\n"
            "ARCHITECTURES = {'x': A}",
            "expected a method __call__(inputs, train)",
        ),
        (
            HEADS.replace(' = option(2, "projections a task", least=1)', ""),
            "nothing sets its field 'count': make it an option, count: TYPE = option(DEFAULT, HELP",
        ),
        (
            "class A(DTN):\n    count: Any = option(None, 'how many')\nARCHITECTURES = {'x': A}",
            "option 'count' has the default None, expected true or false, a number, text or a tup",
        ),
        (
            "class A(DTN):\n    count: int = option(0, 'many', least=1)\nARCHITECTURES = {'x': A}",
            "the default of option 'count' is not allowed: count=0: expected a whole number at le",
        ),
        (
            "class E(nn.Module):\n    dtype: Any\nEXPERTS = {'x': E}",
            "expected an attribute 'width'",
        ),
        (
            "class E(nn.Module):\n    width: int\n    dtype: Any\nEXPERTS = {'x': E}",
            "expected a method __call__(fields, codewords, train)",
        ),
        ("class X(BlockBuilder): ...\nDATASETS = {'x': X}", "expected a method encoders()"),
        (
            "@dataclasses.dataclass\nclass L:\n    kind = 'ordinal'\nLOSSES = {'x': L}",
            "expected a class attribute `kind`, one of binary, regression",
        ),
        (
            "@dataclasses.dataclass\nclass L:\n    kind = 'binary'\nLOSSES = {'x': L}",
            "expected a method __call__(z, y, w)",
        ),
    ],
)
def test_what_a_definition_lacks(text, message, refused):
    assert message in refused(text)


def test_a_data_set_is_called_as_tfds_calls_it(write, refused):
    source = EXAMPLE.read_text().partition("ARCHITECTURES =")[0]
    message = refused(source + "DATASETS = {'my_shop': Shop}")
    assert "the name 'shop' of the class's: call the class MyShop, or give it the attr" in message
    plugins.load(str(write(source + "class MyShop(Shop): ...\nDATASETS = {'my_shop': MyShop}")))
    named = "class S(Shop):\n    name = 'named'\nDATASETS = {'named': S}"
    plugins.load(str(write(source + named, "named.py")))
    assert DATASETS["named"].name == "named"


# ---------------------------------------------------------------- what is added, and once


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


# ---------------------------------------------------------------- whose a run, a set, a cell is


def config_with(path) -> object:
    config = adult.get_config("dtn")
    plugins.use(config, str(path))
    config.model.architecture = "heads"
    return config


def test_a_run_belongs_to_its_content_wherever_it_lies(write, tmp_path):
    path = write(HEADS)
    before = config_with(path)
    Workdir(tmp_path / "run", checked_config(before), SCHEMA, "a1").close()
    stored = json.loads((tmp_path / "run/config.json").read_text())["config"]["plugins"]
    assert stored == plugins.load(str(path))
    moved = config_with(shutil.copy(path, write("", "elsewhere/mine.py")))
    assert moved.plugins != before.plugins
    Workdir(tmp_path / "run", checked_config(moved), SCHEMA, "a1").close()
    write(HEADS + "\nCOUNT = 1")
    changed = config_with(path)
    assert differing(identity(before), identity(changed)) == ["plugins"]
    with pytest.raises(UserError, match=r"belongs to another config.*\n  plugins: 'mine.py#"):
        Workdir(tmp_path / "run", checked_config(changed), SCHEMA, "a1")


def test_a_finished_run_is_read_wherever_its_plug_in_lies(write, tmp_path, unload):
    path = write(HEADS)
    config = config_with(path)
    config.model.heads.count = 5
    Workdir(tmp_path / "run", checked_config(config), SCHEMA, "a1").close()
    (tmp_path / "run/results.json").write_text("{}")
    assert read_config(tmp_path / "run", base_config()) == config
    moved = path.rename(write("", "elsewhere/mine.py"))
    with pytest.raises(UserError, match=f"plug-in {path} is not there"):
        read_config(tmp_path / "run", base_config())
    found = read_config(tmp_path / "run", base_config(), str(moved))
    assert (found.plugins, found.model.heads.count) == (plugins.load(str(moved)), 5)
    other = write(HEADS.replace('"heads"', '"others"'), "other.py")
    with pytest.raises(UserError, match=r"has the plug-ins mine.py#\w+, got other.py#\w+$"):
        read_config(tmp_path / "run", base_config(), str(other))


def test_a_cell_belongs_to_its_content_wherever_it_lies(write, tmp_path):
    data = type("Data", (), {"fingerprint": "a1"})
    path = write(HEADS)
    name = cells.name_of(config_with(path), data)
    moved = shutil.copy(path, write("", "elsewhere/mine.py"))
    assert cells.name_of(config_with(moved), data) == name
    write(HEADS + "\nCOUNT = 1")
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


# ---------------------------------------------------------------- what cannot be built


def heads_on_adult(path, prepared_dir, **changes):
    config = small(prepared_dir)
    plugins.use(config, str(path))
    config.model.architecture = "heads"
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def returning(what: str, imports: str = "") -> str:
    """The plug-in, with a model that returns this."""
    text = HEADS.replace('raise TypeError("no model yet")', f"return {what}")
    return imports + text.replace("    def __call__", "    @nn.compact\n    def __call__")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADS, r" \({path}, line 17\): TypeError: no model yet \(--debug shows where\)"),
        (returning("inputs"), ": it returns Inputs, expected dtn_jax.interface.Outputs"),
        (
            returning("Outputs({'income': 0})", "from dtn_jax.interface import Outputs"),
            ": its logits are of income; expected one of each task: income, never_married",
        ),
        (
            returning(
                "Outputs({t.name: jnp.zeros((1, 1)) for t in self.tasks})",
                "import jax.numpy as jnp\nfrom dtn_jax.interface import Outputs",
            ),
            r": of one example, 'income' has the shape \(1, 1\); expected \(1,\), \[B\]",
        ),
    ],
    ids=["raises", "returns", "tasks", "shape"],
)
def test_a_model_that_cannot_be_built_claims_no_folder(text, reason, write, prepared_dir, tmp_path):
    path = write(text)
    config = heads_on_adult(path, prepared_dir)
    what = "architecture 'heads' with experts 'mlp' cannot be built"
    with pytest.raises(UserError, match=what + reason.format(path=re.escape(str(path)))) as caught:
        train(config, tmp_path / "run")
    if "line" in reason:
        assert isinstance(caught.value.__cause__, TypeError)
    config.replicas = "2"
    with pytest.raises(UserError, match=what):
        train_replicas(config, tmp_path / "runs")
    assert {p.name for p in tmp_path.iterdir()} == {"mine.py"}


def test_an_option_with_which_it_cannot_be_built_claims_no_folder(write, prepared_dir, tmp_path):
    text = returning("inputs.fields['shared'].reshape(1, self.count, -1)")
    config = heads_on_adult(write(text), prepared_dir, model__heads__count=5)
    with pytest.raises(UserError, match=r"cannot be built.*line 18.*TypeError: cannot reshape"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_is_traced_once_for_its_shapes_and_its_state(prepared_dir, monkeypatch):
    calls = []
    make = DTN.__call__
    monkeypatch.setattr(
        DTN, "__call__", lambda *args, **given: calls.append(1) or make(*args, **given)
    )
    run = build_run(small(prepared_dir, model__architecture="dtn"))
    assert not calls
    run.check_model()
    run.new_state()
    assert len(calls) == 1
