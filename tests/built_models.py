"""Small models with random variables and inputs, and the parts of their equations in NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from configs.base import get_config
from dtn_jax.interface import Inputs
from dtn_jax.losses.positive_weights import inflation
from dtn_jax.models import build as architectures
from dtn_jax.schema import Field, Schema, Task

B, F, D, H = 6, 3, 2, 5
FIELDS = tuple(Field(f"field_{i}") for i in range(F))


def schema(*tasks):
    return Schema("test", FIELDS, tasks)


CLICK, ORDER = Task("click"), Task("order", upstream=("click",))
PAIR = schema(CLICK, ORDER)
# Listed against the graph's direction: the order of computation is not that of the list.
CHAIN = schema(Task("order", upstream=("cart",)), Task("cart", upstream=("click",)), CLICK)


def options(**changes):
    model = get_config().model
    model.expert_dim, model.tower_hidden, model.mlp.hidden, model.experts = H, (8,), (6,), "mlp*2"
    model.masknet.block_dim, model.masknet.mask_hidden, model.masknet.hidden = 4, 3, (4,)
    model.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return model


class Model:
    """A built architecture with random variables and inputs."""

    def __init__(self, data, random_variables, positive_weights=None, **changes):
        model = options(**changes)
        dtype = jnp.float64 if model.dtype == "float64" else jnp.float32
        self.schema = data
        self.module = architectures.build(
            model, data, inflation=inflation(positive_weights or {}, data)
        )
        rng = np.random.default_rng(0)
        codebooks = architectures.codebooks(model, data)
        codewords = rng.normal(size=(B, F * (F - 1) // 2, 2, codebooks, D))
        self.inputs = Inputs(
            fields={
                view: jnp.asarray(rng.normal(size=(B, F, D)), dtype)
                for view in architectures.views(model, data)
            },
            codewords=jnp.asarray(codewords, dtype) if codebooks else None,
            row_mask=jnp.arange(B) < B - 1,
        )
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
        wide = lambda leaf: np.asarray(leaf, np.float64)  # noqa: E731
        params = jax.tree.map(wide, self.variables["params"])
        return params, {v: wide(x).reshape(B, -1) for v, x in self.inputs.fields.items()}


# Parts of the equations. x is [B, W].


def dense(p, x):
    return x @ p["kernel"] + p.get("bias", 0)


def relu(x):
    return np.maximum(x, 0)


def softmax(scores):
    e = np.exp(scores)
    return e / e.sum(-1, keepdims=True)


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


def in_float64(first, *others):
    """Cases of a test: the first in both precisions, the others, which share its code, in one."""
    return [(first, "float32"), *((case, "float64") for case in (first, *others))]
