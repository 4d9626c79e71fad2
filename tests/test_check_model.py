"""A model that cannot be built is told before a run claims its folder."""

import re

import pytest
from plugin_files import HEADS
from small_runs import small

from dtn_jax.config import plugins
from dtn_jax.errors import UserError
from dtn_jax.models.architectures import DTN
from dtn_jax.replicas import train_replicas
from dtn_jax.run import build_run
from dtn_jax.train import train

pytestmark = pytest.mark.usefixtures("unload")


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
def test_a_model_that_cannot_be_built_claims_no_folder(
    text, reason, write_plugin, prepared_dir, tmp_path
):
    path = write_plugin(text)
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


def test_an_option_with_which_it_cannot_be_built_claims_no_folder(
    write_plugin, prepared_dir, tmp_path
):
    text = returning("inputs.fields['shared'].reshape(1, self.count, -1)")
    config = heads_on_adult(write_plugin(text), prepared_dir, model__heads__count=5)
    with pytest.raises(UserError, match=r"cannot be built.*line 18.*TypeError: cannot reshape"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("layout", ['("shared",)', "()", "((),)"])
def test_a_layout_that_is_none_claims_no_folder(layout, write_plugin, prepared_dir, tmp_path):
    path = write_plugin(HEADS.replace('(("shared",),)', layout))
    with pytest.raises(UserError, match=r"architecture 'heads' has the layout .*; expected the"):
        train(heads_on_adult(path, prepared_dir), tmp_path / "run")
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


LOSS = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Mine:
    kind = "binary"

    def __call__(self, z, y, w):
        return {returned}

LOSSES = {{"mine": Mine}}
"""


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("z.mean()", r"the loss of task 'income', Mine, gives an array of shape \(\), expected"),
        ("z @ y[:2]", r"mine\.py, line \d+\): TypeError: "),
    ],
)
def test_a_loss_that_fails_claims_no_folder(returned, reason, write_plugin, prepared_dir, tmp_path):
    config = small(prepared_dir)
    plugins.use(config, str(write_plugin(LOSS.format(returned=returned))))
    config.loss.tasks = "income=mine"
    with pytest.raises(UserError, match=reason):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_groups_that_fail_are_told(write_plugin, prepared_dir):
    text = HEADS.replace("    def layout(cls, schema, own):", "    def layout(cls, schema):")
    assert text != HEADS
    with pytest.raises(UserError, match=r"'heads' .* cannot be built.*: TypeError: .*layout"):
        build_run(heads_on_adult(write_plugin(text), prepared_dir))
