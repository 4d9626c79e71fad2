"""Small models with random variables and inputs, and the parts of their equations in NumPy."""

import functools
import re
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from configs.base import get_config
from dtn_jax.interface import Inputs, Label
from dtn_jax.losses.positive_weights import inflation
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.schema import Field, Schema, Task

B, F, D, H = 6, 3, 2, 5
SCENARIOS = 4
FIELDS = (
    Field("field_0", rows=SCENARIOS, role="scenario"),
    Field("field_1", role="prior"),
    *(Field(f"field_{i}") for i in range(2, F)),
)


def schema(*tasks):
    return Schema("test", FIELDS, tasks)


CLICK, ORDER = Task("click"), Task("order", upstream=("click",))
PAIR = schema(CLICK, ORDER)
# Listed against the graph's direction: the order of computation is not that of the list.
CHAIN = schema(Task("order", upstream=("cart",)), Task("cart", upstream=("click",)), CLICK)

# Options of each architecture's model that tests share, so that it is traced and compiled once.
USUAL = {
    "dtn": {"group_experts": "shared=mlp*3,click=mlp"},
    "mmoe": {"experts": "mlp*4"},
    "ple": {"group_experts": "shared=mlp,order=mlp*3"},
    "stem": {"stem__levels": 2, "group_experts": "shared=mlp,order=mlp*3"},
}


def usual(architecture, **changes):
    """The options of an architecture's usual model, in float64."""
    given = {"architecture": architecture, "dtype": "float64"}
    return given | USUAL.get(architecture, {}) | changes


def options(**changes):
    model = get_config().model
    model.expert_dim, model.tower_hidden, model.mlp.hidden, model.experts = H, (8,), (6,), "mlp*2"
    model.masknet.block_dim, model.masknet.mask_hidden, model.masknet.hidden = 4, 3, (4,)
    model.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return model


def inputs_of(model, data):
    """Random inputs of what the options describe, and labels; the last row is padding."""
    dtype = jnp.float64 if model.dtype == "float64" else jnp.float32
    rng = np.random.default_rng(0)
    codebooks = architectures.codebooks(model, data)
    codewords = rng.normal(size=(B, F * (F - 1) // 2, 2, codebooks, D))
    return Inputs(
        fields={
            view: jnp.asarray(rng.normal(size=(B, F, D)), dtype)
            for view in architectures.views(model, data)
        },
        codewords=jnp.asarray(codewords, dtype) if codebooks else None,
        row_mask=jnp.asarray(np.arange(B) < B - 1),
        labels={task.name: label_of(task, t, rng, dtype) for t, task in enumerate(data.tasks)},
        ids={"field_0": jnp.asarray([0, 1, 3, 3, 1, -1], jnp.int32)}
        | {f"field_{i}": jnp.zeros(B, jnp.int32) for i in range(1, F)},
        names=data.read_names,
    )


def label_of(task, row, rng, dtype):
    """Random labels of a task, unknown, NaN, in a row and in the padding; 1 in the row after it."""
    values = rng.integers(0, 2, B).astype(float) if task.kind == "binary" else rng.normal(size=B)
    values[row + 1] = 1
    known = (np.arange(B) != row) & (np.arange(B) < B - 1)
    values[~known] = np.nan
    positives, rows = (known & (values == 1)).sum(), B - 1
    broadcast = (jnp.full(B, total, dtype) for total in (positives, rows))
    return Label(jnp.asarray(values, dtype), jnp.asarray(known), *broadcast)


def program(function, *given):
    """What a function computes, as text without the addresses of objects."""
    return re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(function)(*given)))


class Model:
    """A built architecture with random variables and inputs; of equal options there is one."""

    made: ClassVar[dict] = {}

    def __new__(cls, data, random_variables, **changes):
        architecture = ARCHITECTURES.get(changes.get("architecture"))  # or that of a plug-in
        key = data, architecture, jax.config.jax_enable_x64, repr(sorted(changes.items()))
        if key not in cls.made:
            cls.made[key] = super().__new__(cls)
            cls.made[key].draw(data, random_variables, **changes)
        return cls.made[key]

    def draw(self, data, random_variables, positive_weights=None, **changes):
        model = options(**changes)
        self.schema = data
        self.module = architectures.build(
            model, data, inflation=inflation(positive_weights or {}, data)
        )
        self.inputs = inputs_of(model, data)
        self.variables = random_variables(self.module, self.inputs, train=False)

        @functools.partial(jax.jit, static_argnums=2)
        def apply(variables, inputs, train, key):
            # Quick to compile, unlike the default generator.
            rngs = {"dropout": jax.random.key(key, impl="unsafe_rbg")}
            return self.module.apply(
                variables, inputs, train=train, rngs=rngs, mutable=["batch_stats"]
            )[0]

        self.apply = apply

    def __call__(self, variables=None, inputs=None, train=False, key=0):
        return self.apply(variables or self.variables, inputs or self.inputs, train, key)

    def edited(self, edit):
        """The variables after `edit(params)` on a copy of the parameters."""
        variables = jax.tree.map(lambda leaf: leaf, self.variables)  # new dicts, old arrays
        edit(variables["params"])
        return variables

    @property
    def exact(self):
        """(params, {view: x}) for NumPy."""
        fields = {view: exact(x).reshape(B, -1) for view, x in self.inputs.fields.items()}
        return exact(self.variables["params"]), fields


def exact(tree):
    """Arrays for NumPy."""
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


# Parts of the equations. x is [B, W].


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0)


def relu(x):
    return np.maximum(x, 0)


def softmax(scores):
    e = np.exp(scores)
    return e / e.sum(-1, keepdims=True)


def layer_norm(p, x):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * p["scale"] + p["bias"]


def attend(q, k, v, heads, present=None, scale=None):
    """What `q` [B, Q, W] reads of `k` and `v` [B, S, W], row by row and head by head."""
    size = q.shape[-1] // heads
    found = np.zeros(q.shape)
    for b in range(len(q)):
        seen = slice(None) if present is None else np.flatnonzero(present[b])
        if present is not None and not len(seen):
            continue
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[b][:, part] @ k[b][seen][:, part].T / (scale or np.sqrt(size))
            found[b][:, part] = softmax(scores) @ v[b][seen][:, part]
    return found


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(p, x):
    return relu(dense(p["output"], relu(dense(p["hidden_0"], x))))


def group(p, x):
    return [mlp(p[f"mlp_{m}"], x) for m in range(len(p))]


def tower(p, z):
    return dense(p["logit"], relu(dense(p["hidden_0"], z)))[:, 0]


def weighted(weights, f):
    return sum(weights[:, m : m + 1] * f[m] for m in range(len(f)))


def assert_logits(precision, built, expected):
    got = built().logits
    assert set(got) == set(expected) == set(built.schema.task_names)
    for t in expected:
        assert expected[t].shape == (B,)
        assert len(set(expected[t])) == B  # no dead unit hides a difference
        precision.assert_close(got[t], expected[t])
