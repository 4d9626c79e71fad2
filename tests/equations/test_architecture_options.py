"""Every option of a model changes it, and wrong ones are told."""

import random
import re

import jax
import pytest
from built_models import PAIR, inputs_of, options, program, schema
from other_values import another

from dtn_jax.config import declarations, flatten
from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures
from dtn_jax.models.experts import EXPERTS
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.schema import Task

# Options that no module of this schema reads: embedding_dim, upstream, those of numbers, of
# histories and of hcnet's addresses.
READ_ELSEWHERE = {"embedding_dim", "upstream", "numbers", "histories", "dtn.own_histories"} | {
    f"hcnet.{name}" for name in ("codebook_rows", "hashes", "fields", "seed")
}
# Where a declaration does not say which other value there is, or what else must be there.
VALUES = {"experts": "mlp", "group_experts": "shared=mlp*3", "fibinet.reduction": 1}
ATTENTIVE = {"experts": "hcnet", "architecture": "shared_bottom", "hcnet.shrinking": "attentive"}
BASES = {"hcnet.hidden": ATTENTIVE, "aitm.calibrator": {"architecture": "aitm", "experts": "mlp*3"}}
DECLARED = {
    key.removeprefix("model."): found
    for key, found in declarations().items()
    if key.startswith("model.") and not {*found.members} & {*NUMBERS, *HISTORIES}
}


def base_of(key):
    """What to build, so that it has that whose option this is."""
    member = "".join(DECLARED[key].members[:1])
    if member in EXPERTS and key not in BASES:
        return {"experts": member, "architecture": "shared_bottom"}
    of_dtn = {"architecture": "dtn" if key == "fusion" else "shared_bottom"}
    return BASES.get(key, {"architecture": member} if member else of_dtn)


class Program:
    """A model's parameters, and as text what it computes in training and the gradient of that."""

    def __init__(self, changes):
        model = options(**changes)
        self.module, self.inputs = architectures.build(model, PAIR), inputs_of(model, PAIR)
        self.variables = jax.eval_shape(
            lambda: self.module.init(jax.random.key(0), self.inputs, train=False)
        )

    def outputs(self, variables, inputs):
        rngs = {"dropout": jax.random.key(0)}
        given = {"train": True, "rngs": rngs, "mutable": ["batch_stats"]}
        found, _ = self.module.apply(variables, inputs, **given)
        return found.logits, found.aux

    def gradient(self, variables, inputs):
        def total(params):
            logits, _ = self.outputs({**variables, "params": params}, inputs)
            return sum(logit.sum() for logit in logits.values())

        return jax.grad(total)(variables["params"])

    def texts(self):
        """One after the other, since the first often says enough."""
        yield str(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), self.variables))
        for part in (self.outputs, self.gradient):
            yield program(part, self.variables, self.inputs)


def same(one, other):
    return all(a == b for a, b in zip(one.texts(), other.texts(), strict=True))


FLIPPED = sorted(DECLARED.keys() - READ_ELSEWHERE)
QUICK = set(random.Random(0).sample(FLIPPED, len(FLIPPED) // 3))


@pytest.mark.parametrize(
    "key", [key if key in QUICK else pytest.param(key, marks=pytest.mark.slow) for key in FLIPPED]
)
def test_flipping_an_option_changes_the_model(key):
    """Those of a new architecture or expert too: they need no line here."""
    base = base_of(key)
    now = flatten(options(**base))[key]
    option = DECLARED[key].option
    fields = ("field_2",) if key.endswith("scenario") else ("field_0", "field_2")
    tokens = "a=field_0+field_1" if option.role == "tokens" else ""
    value = VALUES.get(key) or tokens or (fields if option.role else another(option, now))
    assert not same(Program(base), Program({**base, key: value}))


@pytest.mark.parametrize("base", [{"architecture": "shared_bottom"}, {"architecture": "dtn"}])
def test_equal_options_make_equal_models(base):
    assert same(Program(base), Program(base))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_experts": "sharde=mlp"}, "group of dtn 'sharde'. Did you mean 'shared'"),
        ({"group_experts": "shared"}, "expected group=experts, got 'shared'"),
        ({"dtype": "float16"}, "The choices are: float32, bfloat16, float64"),
        ({"dtype": "float64"}, "JAX_ENABLE_X64"),
        ({"dtn.task_groups": False, "dtn.shared_group": False}, "both off"),
        ({"dtn.own_embeddings": True, "dtn.task_groups": False}, "model.dtn.own_embeddings: they"),
        ({"dtn.own_embeddings": True, "dtn.own_histories": True}, "own_histories: with own_embed"),
        (
            {"dtn.shared_group": False, "group_experts": "shared=mlp"},
            "The choices are: click, order",
        ),
    ],
)
def test_a_wrong_option_is_a_user_error(changes, message):
    """What each may be by itself is in contracts/test_config.py."""
    with pytest.raises(UserError, match=re.escape(message)):
        architectures.build(options(**changes), PAIR)


CLICK = Task("click")
AFTER_BOTH = Task("order", upstream=("click", "cart"))


@pytest.mark.parametrize(
    ("architecture", "data", "message"),
    [
        ("dtn", schema(Task("shared")), "a task cannot be called 'shared'"),
        ("esmm", schema(CLICK, Task("order")), "no upstream tasks"),
        (
            "esmm",
            schema(CLICK, Task("cart"), AFTER_BOTH),
            "must be binary and follow one binary task, got binary after click, cart",
        ),
        (
            "esmm",
            schema(CLICK, Task("watch", kind="regression", upstream=("click",))),
            "got regression after click",
        ),
        (
            "esmm",
            schema(CLICK, Task("order", space="click", upstream=("click",))),
            "'order' is taken in the space 'click'",
        ),
    ],
)
def test_tasks_that_an_architecture_cannot_have(architecture, data, message):
    with pytest.raises(UserError, match=message):
        architectures.build(options(architecture=architecture), data)
