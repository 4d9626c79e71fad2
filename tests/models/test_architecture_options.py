"""Every option of a model changes it, wrong ones are told, and what architectures are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from built_models import CHAIN, PAIR, options, schema
from other_values import another

from dtn_jax.config import declarations, flatten
from dtn_jax.errors import UserError
from dtn_jax.models import build as architectures
from dtn_jax.models.architectures import ARCHITECTURES, Architecture
from dtn_jax.models.experts import EXPERTS
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.schema import Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

# Options that no module of this schema reads: embedding_dim, upstream, those of numbers, of
# histories and of hcnet's addresses.
READ_ELSEWHERE = {"embedding_dim", "upstream", "numbers", "histories", "dtn.own_histories"} | {
    f"hcnet.{name}" for name in ("codebook_rows", "hashes", "fields", "seed")
}
# Where a declaration does not say which other value there is, or what else must be there.
VALUES = {"experts": "mlp", "group_experts": "shared=mlp*3"}
BASES = {"aitm.calibrator": {"architecture": "aitm", "experts": "mlp*3"}}
DECLARED = {
    key.removeprefix("model."): found
    for key, found in declarations().items()
    if key.startswith("model.") and found.member not in {**NUMBERS, **HISTORIES}
}


def base_of(key):
    """What to build, so that it has that whose option this is."""
    member = DECLARED[key].member
    kind = "experts" if member in EXPERTS else "architecture"
    return BASES.get(key, {kind: member} if member else {})


def gradient(built):
    """That of the sum of all logits."""
    rngs = {"dropout": jax.random.key(0, impl="unsafe_rbg")}

    def total(params):
        variables = {**built.variables, "params": params}
        found = built.module.apply(
            variables, built.inputs, train=True, rngs=rngs, mutable=["batch_stats"]
        )[0]
        return sum(logit.sum() for logit in found.logits.values())

    return jax.jit(jax.grad(total))(built.variables["params"])


@pytest.mark.parametrize("key", sorted(DECLARED.keys() - READ_ELSEWHERE))
def test_flipping_an_option_changes_the_model(key, model):
    """Those of a new architecture or expert too: they need no line here."""
    base = base_of(key)
    now = flatten(options(**base))[key]
    value = VALUES[key] if key in VALUES else another(DECLARED[key].option, now)
    before, after = model(PAIR, **base), model(PAIR, **{**base, key: value})
    shapes = [jax.tree.map(jnp.shape, built.variables) for built in (before, after)]
    if shapes[0] == shapes[1]:  # then the numbers differ
        a, b = before(train=True), after(train=True)
        same = jax.tree.map(np.array_equal, (a.logits, a.aux), (b.logits, b.aux))
        if all(jax.tree.leaves(same)):  # then what the model learns
            same = jax.tree.map(np.array_equal, gradient(before), gradient(after))
        assert not all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("architecture", "dnt", "unknown model.architecture 'dnt'. Did you mean 'dtn'"),
        ("experts", "mlp+gcn", "unknown expert 'gcn'"),
        ("experts", "", "unknown expert ''"),
        ("group_experts", "sharde=mlp", "unknown group of dtn 'sharde'. Did you mean 'shared'"),
        ("group_experts", "shared", "expected group=experts, got 'shared'"),
        ("group_experts", "shared=mpl", "unknown expert 'mpl'. Did you mean 'mlp'"),
        ("normalisation", "group", "The choices are: none, batch, layer"),
        ("fusion", "sum", "The choices are: paper, released"),
        ("dtype", "float16", "The choices are: float32, bfloat16, float64"),
        ("dtype", "float64", "JAX_ENABLE_X64"),
        ("masknet.kind", "both", "unknown model.masknet.kind 'both'"),
        ("hcnet.shrinking", "mean", "unknown model.hcnet.shrinking 'mean'"),
        ("expert_dim", 0, "model.expert_dim=0: expected a whole number at least 1"),
        ("gdcn.layers", 0, "model.gdcn.layers"),
        ("masknet.blocks", -1, "model.masknet.blocks"),
        ("masknet.block_dim", 0, "model.masknet.block_dim"),
        ("masknet.mask_hidden", 0, "model.masknet.mask_hidden"),
        ("masknet.hidden", (0,), "model.masknet.hidden"),
        ("mlp.hidden", (8, 0), "model.mlp.hidden"),
        ("tower_hidden", (-1,), "model.tower_hidden"),
        ("dcnv2.layers", 0, "model.dcnv2.layers"),
        ("dcnv2.rank", -1, "model.dcnv2.rank=-1: expected a whole number at least 0"),
        ("dropout", 1.0, "model.dropout=1.0: expected a number at least 0 and below 1"),
        ("embedding_dropout", -0.1, "model.embedding_dropout"),
    ],
)
def test_a_wrong_option_is_a_user_error(key, value, message):
    with pytest.raises(UserError, match=message):
        kind = key.partition(".")[0]
        experts = {"experts": kind} if kind in EXPERTS else {}
        architectures.build(options(**{**experts, key: value}), PAIR)


def test_an_architecture_that_forgets_its_groups_is_told(monkeypatch):
    class Forgetful(Architecture):
        def __call__(self, inputs, train):
            raise NotImplementedError

    monkeypatch.setitem(ARCHITECTURES, "forgetful", Forgetful)
    with pytest.raises(UserError, match="Forgetful does not say which groups of experts"):
        architectures.build(options(architecture="forgetful"), PAIR)


def test_other_wrong_models_are_user_errors():
    with pytest.raises(
        UserError, match=r"model\.ple\.levels=0: expected a whole number at least 1"
    ):
        architectures.build(options(architecture="ple", ple__levels=0), PAIR)
    with pytest.raises(UserError, match="both off"):
        architectures.build(options(dtn__task_groups=False, dtn__shared_group=False), PAIR)
    switched_off = options(dtn__shared_group=False, group_experts="shared=mlp")
    with pytest.raises(UserError, match="The choices are: order, cart, click"):
        architectures.build(switched_off, CHAIN)
    with pytest.raises(UserError, match="a task cannot be called 'shared'"):
        architectures.build(options(), schema(Task("shared")))


def test_groups_of_each_architecture():
    groups = {
        "dtn": ["click", "order", "shared"],
        "ple": ["click", "order", "shared"],
        "mmoe": ["shared"],
        "shared_bottom": ["shared"],
        "single_task": ["click", "order"],
        "esmm": ["click", "order"],
        "aitm": ["click", "order"],
        "stem": ["click", "order", "shared"],
        "adatt": ["click", "order", "shared"],
    }
    views = {"single_task": ("click", "order"), "stem": ("click", "order", "shared")}
    for name, expected in groups.items():
        assert list(architectures.layout(options(architecture=name), PAIR)[0]) == expected
        assert architectures.views(options(architecture=name), PAIR) == views.get(name, ("shared",))
    with pytest.raises(UserError, match="unknown architecture"):
        architectures.views(options(architecture="moe"), PAIR)


def test_counting_codebooks():
    counts = {"dtn": 3, "ple": 6, "mmoe": 1, "shared_bottom": 1, "single_task": 2}
    for name, expected in counts.items():
        assert architectures.codebooks(options(architecture=name, experts="mlp+hcnet"), PAIR) == (
            expected
        )
    mixed = options(experts="mlp", group_experts="shared=hcnet*2+mlp,click=hcnet")
    assert architectures.codebooks(mixed, PAIR) == 3
    assert architectures.codebooks(options(), PAIR) == 0
