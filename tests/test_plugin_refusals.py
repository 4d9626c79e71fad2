"""What is said of a plug-in that cannot be; then nothing of it is added."""

import sys

import pytest
from plugin_files import EXAMPLE, HEADS, names

from dtn_jax.config import plugins
from dtn_jax.datasets.preparation.catalog import DATASETS
from dtn_jax.errors import UserError

pytestmark = pytest.mark.usefixtures("unload")


@pytest.fixture
def refused(write_plugin):
    """Loads a plug-in that cannot be; returns the message, and nothing is added."""

    def call(text: str) -> str:
        before = names()
        path = write_plugin(text)
        with pytest.raises(UserError) as caught:
            plugins.load(str(path))
        assert names() == before
        assert path not in plugins.loaded
        assert str(caught.value).startswith(f"plug-in {path}")
        return str(caught.value)

    return call


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
def test_a_file_that_fails_is_told_with_its_line(text, line, reason, write_plugin):
    path = write_plugin("")
    path.write_text(text)
    modules = set(sys.modules)
    with pytest.raises(UserError) as caught:
        plugins.load(str(path))
    assert f"plug-in {path} fails, line {line}: {reason}" in str(caught.value)
    assert not [name for name in set(sys.modules) - modules if name.startswith("mine")]


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


def test_a_name_that_another_plug_in_has(write_plugin, refused):
    other = write_plugin(HEADS, "other.py")
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
        (
            "@dataclasses.dataclass\nclass L:\n    kind = 'regression'\n    reads = 'age'\n"
            "    def __call__(self, z, y, w, ids): ...\nLOSSES = {'x': L}",
            "its attribute `reads` is 'age'; expected the name of an option",
        ),
    ],
)
def test_what_a_definition_lacks(text, message, refused):
    assert message in refused(text)


def test_a_data_set_is_called_as_tfds_calls_it(write_plugin, refused):
    source = EXAMPLE.read_text().partition("ARCHITECTURES =")[0]
    message = refused(source + "DATASETS = {'my_shop': Shop}")
    assert "the name 'shop' of the class's: call the class MyShop, or give it the attr" in message
    called = "class MyShop(Shop): ...\nDATASETS = {'my_shop': MyShop}"
    plugins.load(str(write_plugin(source + called)))
    named = "class S(Shop):\n    name = 'named'\nDATASETS = {'named': S}"
    plugins.load(str(write_plugin(source + named, "named.py")))
    assert DATASETS["named"].name == "named"
