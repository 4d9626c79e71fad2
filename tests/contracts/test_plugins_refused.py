"""What is said of a plug-in that cannot be, or whose model cannot; nothing of it is left."""

import pytest
from plugin_files import HEADS, IMPORTS, names
from refused_configs import refused
from small_runs import small

from dtn_jax.config import plugins
from dtn_jax.run.replicas import train_replicas
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train

pytestmark = pytest.mark.usefixtures("unload")


@pytest.fixture
def told(write_plugin):
    """Loads a plug-in that cannot be; returns the message, and nothing is added."""

    def call(text: str) -> str:
        before = names()
        path = write_plugin(text)
        message = refused(plugins.load, str(path))
        assert names() == before
        assert path not in plugins.loaded
        assert message.startswith(f"plug-in {path}")
        return message

    return call


def test_a_file_that_is_not_there(tmp_path):
    assert "plug-in ~/no.py is not there (looked for /" in refused(plugins.load, "~/no.py")
    assert "is not there" in refused(plugins.load, str(tmp_path))  # a folder


A, E, L = "ARCHITECTURES = {'x': A}", "EXPERTS = {'x': E}", "LOSSES = {'x': L}"
SET, D = "class X(DataSet): ", "DATASETS = {'x': X}"
OF_DTN, OF_NONE = "class A(DTN):\n    ", "class A(Architecture):\n    "
EXPERT = "class E(nn.Module):\n    dtype: Any\n"
BALANCER = "import functools\nfrom dtn_jax.balancing.balancer import Balancer\nclass B(Balancer):\n"
B = "BALANCERS = {'x': B}"
COMBINES = "    def coefficients(self, gram, losses, state, key): ...\n"
LOSS = "@dataclasses.dataclass\nclass L:\n    kind = "
READS = "'regression'\n    reads = 'age'\n    def __call__(self, z, y, w, ids): ...\n"
LINES = IMPORTS.count("\n")  # before what a test writes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import nowhere_to_be_found", f"fails, line {LINES + 1}: ModuleNotFoundError: "),
        ("x = 1\nclass Heads(", f"fails, line {LINES + 2}: SyntaxError: "),
        ("def f():\n    return 1 / 0\n\nf()", f"fails, line {LINES + 2}: ZeroDivisionError: "),
        ("OURS['mine'] = DTN\nx = 1 / 0", f"fails, line {LINES + 2}: ZeroDivisionError"),
        ("", "expected a dict {name: ...} called ARCHITECTURES, EXPERTS"),
        ("ARCHITECTURES = {}", "defines nothing"),
        ("ARCHITECTURES = OURS", "defines nothing"),
        ("ARCHITECTURES = [DTN]", "expected a dict {name: ...}"),
        ("OURS['mine'] = DTN", "changes a dict of the package"),
        # a name that is taken, or is none
        ("ARCHITECTURES = {'dtn': DTN}", "['dtn']: the name is taken, by ARCHITECTURES of the"),
        ("EXPERTS = {'dtn': DTN}", "EXPERTS['dtn']: the name is taken, by ARCHITECTURES of the"),
        ("EXPERTS = {'din': 1}", "['din']: the name is taken, by the option model.din."),
        ("LOSSES = {'pcgrad': 1}", "['pcgrad']: the name is taken, by BALANCERS of the package"),
        ("BALANCERS = {'none': 1}", "['none']: the name is taken, by a word of its section"),
        (f"{HEADS}\nEXPERTS = {{'heads': 1}}", "['heads']: the name is taken, by ARCHITECTURES of"),
        (f"{HEADS}\nARCHITECTURES = {{'dropout': Heads}}", "by the option model.dropout"),
        (f"{HEADS}\nARCHITECTURES = {{'Heads': Heads}}", "['Heads']: a name is of lower-case"),
        ("ARCHITECTURES = {3: DTN}", "ARCHITECTURES[3]: a name is of lower-case letters"),
        # a definition that lacks something
        ("ARCHITECTURES = {'x': max}", "dtn_jax.models.architectures.architecture.Architecture"),
        ("EXPERTS = {'x': max}", "flax.linen.module.Module"),
        ("DATASETS = {'x': max}", "dtn_jax.data.sets.data_set.DataSet"),
        ("METRICS = {'x': max}", "dtn_jax.metrics.metric.Metric"),
        ("LOSSES = {'x': max}", "expected a class, got <built-in"),
        ("BALANCERS = {'x': max}", "dtn_jax.balancing.balancer.Balancer"),
        (f"{BALANCER}    def updat(self, state, seen): ...\n{B}", "Did you mean 'update'?"),
        (f"{BALANCER}    updat = functools.cache(max)\n{B}", "Did you mean 'update'?"),
        (f"{BALANCER}    def update(self, state, seen): ...\n{B}", "update needs init_state"),
        (f"{BALANCER}    def penalty(self, learned): ...\n{B}", "penalty needs init beside it"),
        (
            f"{BALANCER}    def weights(self, learned, tasks): ...\n{B}",
            "expected weights(self, lea",
        ),
        (f"{BALANCER}{COMBINES}{B}", "coefficients needs reads_gradients = True"),
        (f"{BALANCER}    reads_gradients = True\n{B}", "reads_gradients needs a method coefficie"),
        (f"{BALANCER}    reads_losses = True\n{B}", "reads_losses needs a method weights"),
        (f"{OF_NONE}pass\n{A}", "expected a method __call__(inputs, train)"),
        (f"{BALANCER}    scope = 'all'\n{B}", "unknown scope 'all'. The choices are: embeddings"),
        (f"{BALANCER}    scope = 'shared'\n{B}", "scope needs reads_gradients = True"),
        (HEADS.replace(' = option(2, "projections a task", least=1)', ""), "'count'; a field that"),
        (f"{OF_DTN}n: Any = option(None, 'how many')\n{A}", "option 'n': n=None: expected"),
        (f"{OF_DTN}n: int = option(0, 'many', least=1)\n{A}", "option 'n': n=0: expected"),
        (EXPERT + E, "unexpected keyword argument 'width'"),
        (f"{EXPERT}    width: int\n{E}", "expected a method __call__(fields, codewords, train)"),
        (f"{SET}...\n{D}", "its attribute name is '', expected 'x'"),
        (f"{SET}name = 'x'\n{D}", "x.yaml is empty"),
        (
            f"{SET}name = 'x'; schema = 'fields: [y]\\ntask: [z]'\n{D}",
            "x.yaml, line 2: task: unknown key",
        ),
        (f"{LOSS}'ordinal'\n{L}", "unknown kind of loss 'ordinal'. The choices are: binary, regr"),
        (f"{LOSS}'binary'\n{L}", "expected a method __call__(z, y, w)"),
        (LOSS + READS + L, "its attribute `reads` is 'age'"),
    ],
)
def test_a_plug_in_that_cannot_be(text, named, told):
    assert named in told(text)


def test_a_name_that_another_plug_in_has(write_plugin, told):
    other = write_plugin(HEADS, "other.py")
    plugins.load(str(other))
    for text in (HEADS + "\n", HEADS.replace("ARCHITECTURES", "EXPERTS")):
        assert f"the name is taken, by ARCHITECTURES of plug-in {other}" in told(text)


# ---------------------------------------------------------------- models that cannot be built

OUTPUTS = "from dtn_jax.interface import Outputs\nimport jax.numpy as jnp\n"


def returning(what: str) -> str:
    """The plug-in, with a model that returns this."""
    text = HEADS.replace('raise TypeError("no model yet")', f"return {what}")
    return OUTPUTS + text.replace("    def __call__", "    @nn.compact\n    def __call__")


def layout(what: str) -> str:
    return HEADS.replace('(("shared",),)', what)


def loss(returned: str) -> str:
    """A loss for tasks of the adult set, and no architecture."""
    return f"""
@dataclasses.dataclass(frozen=True)
class Mine:
    kind = "binary"

    def __call__(self, z, y, w):
        return {returned}

LOSSES = {{"mine": Mine}}
"""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (HEADS, ["'heads'", "'mlp'", "mine.py, line 17): TypeError: no model yet (--debug"]),
        (returning("inputs"), ["'heads'", "it returns Inputs, expected dtn_jax.interface.Outputs"]),
        (returning("Outputs({'income': 0})"), ["of income;", "income, never_married"]),
        (
            returning("Outputs({t.name: jnp.zeros((1, 1)) for t in self.tasks})"),
            ["'income' has the shape (1, 1)", "[B]"],
        ),
        (
            returning("inputs.fields['shared'].reshape(1, 5, -1, 7)"),
            ["mine.py, line 20): TypeError: cannot reshape"],
        ),
        *((layout(what), ["'heads' has the layout"]) for what in ('("shared",)', "()", "((),)")),
        (HEADS.replace("schema, own)", "schema)"), ["'heads'", "cannot be built", "layout"]),
        (loss("z.mean()"), ["the loss of task 'income', Mine, gives an array of shape ()"]),
        (loss("z @ y[:2]"), ["mine.py, line ", "): TypeError: "]),
    ],
)
def test_what_cannot_be_built_claims_no_folder(text, named, write_plugin, prepared_dir, tmp_path):
    config = small(prepared_dir)
    plugins.use(config, str(write_plugin(text)))
    if "LOSSES" in text:
        config.loss.tasks = "income=mine"
    else:
        config.model.architecture = "heads"
    message = refused(train, config, tmp_path / "run")
    assert all(part in message for part in named), message
    config.replicas = "2"
    assert refused(train_replicas, config, tmp_path / "runs") == message
    assert {p.name for p in tmp_path.iterdir()} == {"mine.py"}


# ---------------------------------------------------------------- promises

MIXES = """
from dtn_jax.models.gates import mix
from dtn_jax.models.layers import flat
import jax, jax.numpy as jnp

class Mine(Architecture):
    @nn.compact
    def __call__(self, inputs, train):
        x = flat(self.input(name="input")(inputs.fields["shared"], inputs.row_mask, train))
        {line}
        return Outputs({{t.name: self.tower(name=t.name)(x, train) for t in self.tasks}})

ARCHITECTURES = {{"mine": Mine}}
"""
INSTEAD = "use nothing over the rows: model.norm"
UNMASKED = "x - jnp.sum(x * inputs.row_mask[:, None], 0)[None] / 99"


QUICK = [
    ("x = x - x.mean(0)[None]", INSTEAD),
    ("x = nn.Dropout(0.5)(x, deterministic=not train)", INSTEAD),
    ("x = x + self.draw(jax.random.normal, x.shape) if train else x", ""),
]
SLOW = [
    (f"x = {UNMASKED}", INSTEAD),
    (f"x = {UNMASKED} if train else x", INSTEAD),
    ("x = x + jnp.arange(len(x))[:, None]", INSTEAD),
    ("x = x if train else x + 0.01 * jnp.arange(len(x))[:, None]", INSTEAD),
    ("x = x if train else x - x[len(x) // 2][None]", INSTEAD),
    ("x = x * (1 + sum(a.values.sum() for a in inputs.labels.values()))", INSTEAD),
    ("x = x + jax.random.normal(self.make_rng('dropout'), x.shape) if train else x", INSTEAD),
    ("x = x + (jax.random.normal(self.make_rng('dropout'), (1, 48)) if train else 0)", ""),
]


@pytest.mark.parametrize(
    ("line", "instead"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_a_rows_outputs_depend_on_that_row_alone(line, instead, write_plugin, prepared_dir):
    text = OUTPUTS + MIXES.format(line=line)
    path = write_plugin(text)
    config = small(prepared_dir, model__dropout=0.1, model__normalisation="none")
    plugins.use(config, str(path))
    config.model.architecture = "mine"
    run = build_run(config)
    if not instead:
        run.check_model()
        return
    message = refused(run.check_model)
    at = path.read_text().splitlines().index(f"        {line}") + 1
    if "arange" not in line and "//" not in line:  # the first row changes no other one
        assert f"({path}, line {at})" in message
    assert instead in message


AVERAGES = """
from dtn_jax.models.layers import dense, flat
import jax.numpy as jnp

class Centred(nn.Module):
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields, codewords, train):
        return dense(self.width, self.dtype, name="output")(flat(fields - fields.mean(0)[None]))

EXPERTS = {"centred": Centred}
"""


@pytest.mark.slow
def test_an_experts_outputs_depend_on_their_row_alone(write_plugin, prepared_dir):
    path = write_plugin(AVERAGES)
    config = small(prepared_dir, model__normalisation="none")
    plugins.use(config, str(path))
    config.model.experts = "centred+mlp"
    message = refused(build_run(config).check_model)
    at = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "mean(0)" in text)
    assert f"({path}, line {at})" in message
    assert INSTEAD in message
