"""Architectures: routings of experts to tasks, and how options become one.

A new architecture is a file here, a line in ARCHITECTURES, and its groups in `layout`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.losses import inflation
from dtn_jax.models.architectures.adatt import AdaTT
from dtn_jax.models.architectures.aitm import AITM
from dtn_jax.models.architectures.dtn import DTN, FUSIONS
from dtn_jax.models.architectures.esmm import ESMM
from dtn_jax.models.architectures.mmoe import MMoE
from dtn_jax.models.architectures.parts import SHARED, Experts, ModelInput
from dtn_jax.models.architectures.ple import PLE
from dtn_jax.models.architectures.shared_bottom import SharedBottom
from dtn_jax.models.architectures.single_task import SingleTask
from dtn_jax.models.architectures.stem import STEM
from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.experts.hcnet import SHRINKINGS
from dtn_jax.models.experts.masknet import KINDS
from dtn_jax.models.normalisation import NORMALISATIONS
from dtn_jax.models.tower import Tower
from dtn_jax.schema import ALL, Schema, UserError, choose

ARCHITECTURES = {
    "dtn": DTN,
    "shared_bottom": SharedBottom,
    "single_task": SingleTask,
    "mmoe": MMoE,
    "ple": PLE,
    "esmm": ESMM,
    "aitm": AITM,
    "stem": STEM,
    "adatt": AdaTT,
}
LEVELLED = ("ple", "stem", "adatt")  # their option `levels` stands under their own name
DTYPES = ("float32", "bfloat16", "float64")

Layout = tuple[dict[str, tuple[str, ...]], ...]  # per level {group: kinds of its experts}


def build(
    model: ConfigDict,
    schema: Schema,
    remat: bool = False,
    positive_weights: Mapping[str, float] | None = None,
) -> nn.Module:
    """The architecture that the options `model` (section `model` of a config) describe.

    Args:
      model: the options.
      schema: names the tasks and fields.
      remat: the backward pass computes what is inside each expert again, and keeps none of it.
      positive_weights: {task: w of its positives in the loss}, for those architectures that
        multiply or compare probabilities (ESMM, AITM); 1 where not named.

    Raises:
      UserError: an option outside its choices or its range.
    """
    dtype = _dtype(model)
    dropout = _rate(model, "dropout")
    kinds = _expert_factories(model, dropout, dtype, remat)
    codebook = itertools.count()  # each HCNet expert has the next one

    def factories(names: tuple[str, ...]) -> Experts:
        seen = {}
        experts = []
        for kind in names:
            number = seen[kind] = seen.get(kind, -1) + 1
            own = {"codebook": next(codebook)} if kind == "hcnet" else {}
            experts.append((f"{kind}_{number}", functools.partial(kinds[kind], **own)))
        return tuple(experts)

    levels = tuple(
        tuple((group, factories(names)) for group, names in groups.items())
        for groups in layout(model, schema)
    )
    tasks = {task.name: task for task in schema.tasks}
    parts = {
        "tasks": tuple(tasks[name] for name in schema.task_order()),
        "input": functools.partial(
            ModelInput,
            normalisation=_choice(model, "normalisation", NORMALISATIONS),
            dropout=_rate(model, "embedding_dropout"),
        ),
        "tower": functools.partial(
            Tower, hidden=_widths(model, "tower_hidden"), dropout=dropout, dtype=dtype
        ),
        "dropout": dropout,
        "dtype": dtype,
        "inflation": tuple(inflation(positive_weights or {}, schema).items()),
    }
    fusion = _choice(model, "fusion", FUSIONS)
    if model.architecture == "dtn":
        return DTN(groups=levels[0], fusion=fusion, tsn=model.dtn.tsn, **parts)
    if model.architecture == "aitm":
        weight = model.aitm.calibrator
        if weight < 0:
            raise UserError(f"model.aitm.calibrator: expected a weight >= 0, got {weight}")
        return AITM(groups=levels[0], calibrator=weight, **parts)
    if model.architecture in LEVELLED:
        return ARCHITECTURES[model.architecture](levels=levels, **parts)
    return ARCHITECTURES[model.architecture](groups=levels[0], **parts)


def layout(model: ConfigDict, schema: Schema) -> Layout:
    """Which experts each group of each level has."""
    architecture = choose("architecture", model.architecture, ARCHITECTURES)
    levels = _size(model, f"{architecture}.levels") if architecture in LEVELLED else 1
    if architecture == "esmm":
        _check_funnel(schema)
    taken = [name for name in schema.task_names if name in (SHARED, "input")]
    if taken:
        raise UserError(f"a task cannot be called {taken[0]!r}: the model has a part of that name")
    if architecture == "dtn":
        groups = (schema.task_names if model.dtn.task_groups else ()) + (
            (SHARED,) if model.dtn.shared_group else ()
        )
        if not groups:
            raise UserError("model.dtn: task_groups and shared_group are both off: no expert")
    elif architecture in ("ple", "stem") or (architecture == "adatt" and model.adatt.shared_group):
        groups = (*schema.task_names, SHARED)
    elif architecture in ("single_task", "esmm", "aitm", "adatt"):
        groups = schema.task_names
    else:
        groups = (SHARED,)
    experts = dict.fromkeys(groups, parse_experts(model.experts))
    for part in filter(None, model.group_experts.split(",")):
        group, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UserError(f"model.group_experts: expected group=experts, got {part!r}")
        experts[choose(f"group of {architecture}", group, groups)] = parse_experts(text)
    return (experts,) * levels


def codebooks(model: ConfigDict, schema: Schema) -> int:
    """C, the number of HCNet experts in the model."""
    groups = [kinds for level in layout(model, schema) for kinds in level.values()]
    return sum(kinds.count("hcnet") for kinds in groups)


def views(architecture: str, schema: Schema) -> tuple[str, ...]:
    """The views of the fields, each with its own embedding tables, that an architecture reads."""
    choose("architecture", architecture, ARCHITECTURES)
    if architecture == "single_task":
        return schema.task_names
    return (*schema.task_names, SHARED) if architecture == "stem" else (SHARED,)


def _check_funnel(schema: Schema) -> None:
    """ESMM multiplies probabilities along a funnel, so there must be one."""
    edges = [(task, upstream) for task in schema.tasks for upstream in task.upstream]
    if not edges:
        raise UserError(
            f"esmm needs a funnel, and the tasks of {schema.name} have no upstream tasks; "
            "model.upstream='order:click' would say that an order needs a click"
        )
    kinds = {task.name: task.kind for task in schema.tasks}
    for task, upstream in edges:
        if len(task.upstream) > 1 or {task.kind, kinds[upstream]} != {"binary"}:
            raise UserError(
                f"esmm needs a funnel: task {task.name!r} must be binary and follow one binary "
                f"task, got {task.kind} after {', '.join(task.upstream)}"
            )
        if task.space != ALL:
            raise UserError(
                f"esmm trains on all impressions, but the loss of {task.name!r} is taken in the "
                f"space {task.space!r}"
            )


def _expert_factories(
    model: ConfigDict, dropout: float, dtype: jnp.dtype, remat: bool
) -> dict[str, functools.partial]:
    options = {
        "mlp": {"hidden": _widths(model, "mlp.hidden"), "dropout": dropout},
        "gdcn": {"layers": _size(model, "gdcn.layers")},
        "masknet": {
            "kind": _choice(model, "masknet.kind", KINDS),
            "blocks": _size(model, "masknet.blocks"),
            "block_dim": _size(model, "masknet.block_dim"),
            "mask_hidden": _size(model, "masknet.mask_hidden"),
            "hidden": _widths(model, "masknet.hidden"),
        },
        "hcnet": {"shrinking": _choice(model, "hcnet.shrinking", SHRINKINGS)},
        "dcnv2": {
            "layers": _size(model, "dcnv2.layers"),
            "rank": _size(model, "dcnv2.rank", least=0),
        },
    }
    width = _size(model, "expert_dim")
    train = 3  # the place of this argument of an expert, self counted
    return {
        kind: functools.partial(
            nn.remat(expert, static_argnums=train) if remat else expert,
            width=width,
            dtype=dtype,
            **options[kind],
        )
        for kind, expert in EXPERTS.items()
    }


def _read(model: ConfigDict, key: str):
    return functools.reduce(getattr, key.split("."), model)


def _choice(model: ConfigDict, key: str, choices: tuple[str, ...]) -> str:
    return choose(f"model.{key}", _read(model, key), choices)


def _size(model: ConfigDict, key: str, least: int = 1) -> int:
    value = _read(model, key)
    if not isinstance(value, int) or value < least:
        raise UserError(f"model.{key}: expected a whole number >= {least}, got {value!r}")
    return value


def _widths(model: ConfigDict, key: str) -> tuple[int, ...]:
    value = tuple(_read(model, key))
    if not all(isinstance(width, int) and width >= 1 for width in value):
        raise UserError(f"model.{key}: expected whole numbers >= 1, got {value!r}")
    return value


def _rate(model: ConfigDict, key: str) -> float:
    value = _read(model, key)
    if not 0 <= value < 1:
        raise UserError(f"model.{key}: expected a rate in [0, 1), got {value!r}")
    return value


def _dtype(model: ConfigDict) -> jnp.dtype:
    name = _choice(model, "dtype", DTYPES)
    if name == "float64" and not jax.config.jax_enable_x64:
        raise UserError("model.dtype: float64 needs the environment variable JAX_ENABLE_X64=1")
    return jnp.dtype(name)
