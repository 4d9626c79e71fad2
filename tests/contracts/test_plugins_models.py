"""A model, or a loss, that cannot be built is told before a run claims its folder."""

import pytest
from plugin_files import HEADS
from refused_configs import refused
from small_runs import small

from dtn_jax.config import plugins
from dtn_jax.models.architectures import DTN
from dtn_jax.replicas import train_replicas
from dtn_jax.run import build_run
from dtn_jax.train import train

pytestmark = pytest.mark.usefixtures("unload")
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
