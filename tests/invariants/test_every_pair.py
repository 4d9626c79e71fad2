"""Every architecture with every expert: a step is finite, and moves every parameter; every
architecture's steps on eight devices are those on one.

`FROZEN` names the parameters that no gradient reaches on purpose, and why.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import PAIR, inputs_of, options
from toy_steps import SCHEMA, batches, build, config, leaves, placed_run

from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.auxiliary import label_loss
from dtn_jax.models.experts import EXPERTS
from dtn_jax.run import promises
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

QUICK = (("dtn", "hcnet"), ("escm2", "autoint"), ("mdl", ""))
WIDE = {  # so that not all units of a layer are dead
    "expert_dim": 16,
    "mlp__hidden": (16,),
    "masknet__mask_hidden": 16,
    "masknet__block_dim": 16,
    "masknet__hidden": (16,),
    "fibinet__reduction": 1,
    "tower_hidden": (16,),
}
FROZEN = {  # {a pattern of architecture/expert/path: why}
    r"^snr/.*/(shared|route_)": "a drawn switch may be closed: no task then reads an expert",
    r"/fibinet_\d/(squeeze|excite|excited_pairs)": "SENET's relus may all be 0 in so few rows",
}


def cells():
    """(architecture, expert); '' where an architecture has none."""
    for name, architecture in ARCHITECTURES.items():
        for expert in EXPERTS if architecture.takes_experts else ("",):
            marks = () if (name, expert) in QUICK else pytest.mark.nightly
            yield pytest.param(name, expert, marks=marks, id=f"{name}-{expert}")


@pytest.mark.parametrize(("architecture", "expert"), list(cells()))
def test_a_step_is_finite_and_moves_every_parameter(architecture, expert, random_variables):
    experts = f"{expert or 'mlp'}*2"  # of one alone a gate learns nothing
    given = options(architecture=architecture, experts=experts, **WIDE)
    module, inputs = architectures.build(given, PAIR), inputs_of(given, PAIR)
    variables = random_variables(module, inputs, scale=0.1, train=False)  # no softmax is 0 or 1

    def loss(params, views):
        outputs = module.apply(
            {**variables, "params": params},
            inputs.replace(fields=views),
            train=True,
            rngs={"dropout": jax.random.key(0)},
        )
        rows = [label_loss(outputs.logits[t.name], inputs.labels[t.name], t) for t in PAIR.tasks]
        return jnp.sum(jnp.where(inputs.row_mask, sum([*rows, *outputs.aux.values()]), 0))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    (before, (dense, views)), params = step(variables["params"], inputs.fields), variables["params"]
    after = step(jax.tree.map(lambda p, g: p - 1e-3 * g, params, dense), inputs.fields)[0]
    assert np.isfinite([before, after]).all()
    leaves = jax.tree_util.tree_leaves_with_path({"params": dense, "views": views})
    still = []
    for path, gradient in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert np.isfinite(gradient).all(), name
        if not np.any(gradient):
            still.append(f"{architecture}/{expert}/{name}")
    assert [name for name in still if not any(re.search(p, name) for p in FROZEN)] == []


TOKENS = {"tokens": 2, "head_dim": 2, "expansion": 1, "blocks": 2, "feature_layers": 1}
SHOP = dataclasses.replace(
    SCHEMA.with_roles({"user": ("prior", ""), "hour": ("scenario", "")}),
    tasks=(Task("click"), Task("order", upstream=("click",))),
)
MARKS = {"onetrans": (), "escm2": pytest.mark.slow, "m3oe": pytest.mark.slow}
EACH = [pytest.param(a, marks=MARKS.get(a, pytest.mark.nightly)) for a in ARCHITECTURES]


def toy(architecture, **changes):
    """The config of a small model of an architecture."""
    own = config().model.get(architecture, {})
    small = {f"model__{architecture}__{n}": v for n, v in TOKENS.items() if n in own}
    given = {"model__architecture": architecture, "model__dropout": 0.2, **small, **changes}
    return config(model__dtype="float64", **given)


@pytest.mark.parametrize("architecture", EACH)
def test_a_rows_outputs_depend_on_that_row_alone(architecture, float64):
    """Permuted, padded or halved; batch normalisation reads the whole batch, and is left out."""
    promises.check_rows(*build(toy(architecture, model__normalisation="none"), SHOP), SHOP)


@pytest.mark.parametrize("architecture", EACH)
def test_eight_devices_make_the_same_steps_as_one(architecture, float64):
    """Rows unlike in number and labels on each; dropout, so that noise is of the whole batch."""
    given, rng = batches(), np.random.default_rng(3)
    given = given.replace(
        row_mask=rng.random(given.row_mask.shape) < 0.8,
        label_mask=rng.random(given.label_mask.shape) < 0.8,
    )
    changes = {"optim__eps": 1e-3, "optim__tables": "sgd", "optim__table_init": 0.5}
    found = []
    for devices in (1, 8):
        c = toy(architecture, **changes, parallel__devices=devices)
        state, metrics = placed_run(c, given, SHOP)
        found.append([*leaves(state), np.asarray(metrics["losses"])])
    for one, eight in zip(*found, strict=True):
        np.testing.assert_allclose(eight, one, rtol=1e-9, atol=1e-10)
