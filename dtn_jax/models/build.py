"""Section `model` of a config to a module: its options, its groups of experts, its parts."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.errors import UserError, choose
from dtn_jax.field import EMBEDDINGS
from dtn_jax.interface import SHARED
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.completed import completed
from dtn_jax.models.experts import EXPERTS, parse_experts, takes
from dtn_jax.models.groups import Experts, ModelInput
from dtn_jax.models.normalisation import NORMALISATIONS
from dtn_jax.models.own_options import factory, own_options, with_fields
from dtn_jax.models.tower import Tower
from dtn_jax.options import declared, option, pairs
from dtn_jax.schema import Schema
from dtn_jax.tables.addresses import pair_fields

DTYPES = ("float32", "bfloat16", "float64")

Kinds = dict[str, tuple[str, ...]]  # {group: kinds of its experts}


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Section `model`, but for the options of each architecture and expert."""

    architecture: str = option("dtn", "the routing of experts to tasks", choices=ARCHITECTURES)
    experts: str = option("gdcn+masknet", "of each group, such as mlp*4+gdcn")
    group_experts: str = option("", "other experts for some groups: 'shared=mlp*2,income=gdcn'")
    embedding_dim: int = option(16, "D, the width of an embedding", least=1, below=2**31)
    expert_dim: int = option(64, "H, the output width of every expert", least=1, below=2**31)
    tower_hidden: tuple[int, ...] = option((64,), "widths of a task's tower before its one logit")
    dropout: float = option(
        0.0,
        "rate, on expert outputs and hidden layers of towers and MLP experts",
        least=0,
        below=1,
    )
    embedding_dropout: float = option(
        0.0, "rate, on the flattened embeddings that the experts read", least=0, below=1
    )
    normalisation: str = option("none", "of the flattened embeddings", choices=NORMALISATIONS)
    histories: str = option(
        "",
        "how sequence fields are pooled by the item at hand: din, target_attention or bst, or by "
        "field 'viewed=din,bought=bst'; '' pools as their fields say, by their mean or so",
    )
    dtype: str = option(
        "float32", "of the dense computation; float64 needs JAX_ENABLE_X64=1", choices=DTYPES
    )
    upstream: str = option(
        "", "another task graph, 'cart:click,order:click+cart'; '' keeps the schema's"
    )
    numbers: str = option(
        "",
        "embeddings of standardised numbers: scaled, piecewise_linear, periodic or autodis, or by "
        "field 'age=periodic,price=autodis' (those not named: scaled); '' keeps the schema's",
    )


def build(
    model: ConfigDict,
    schema: Schema,
    inflation: Mapping[str, float] | None = None,
    table_init: float = 0.01,
    outputs: Mapping[str, int] | None = None,
) -> nn.Module:
    """The architecture that the options `model` (section `model` of a config) describe.

    Where the schema has vectors, numbers with an embedding of their value, or sequences that are
    pooled by the item at hand, it comes with what makes their embeddings.

    Args:
      model: the options.
      schema: names the tasks and fields.
      inflation: {task: log w of its positives in the loss}, for an architecture with an attribute
        of that name (DTN's released fusion); 0 where not named.
      table_init: standard deviation of the tables' initial rows, of which projections of vectors
        and embeddings of numbers have the size.
      outputs: {task: K}, how many numbers its tower gives; 1 where not named.

    Raises:
      UserError: an option outside its choices or its range.
    """
    general = own_options(model, "", ModelOptions)
    dtype = _dtype(general.dtype)
    kinds = layout(model, schema)
    architecture = ARCHITECTURES[general.architecture]
    parts = vars(options_of(model, schema))
    if takes(architecture, "scenarios"):
        rows = {field.name: field.rows for field in schema.read}
        parts["scenarios"] = rows[parts["scenario"][0]]
    if takes(architecture, "inflation"):
        parts["inflation"] = tuple((inflation or {}).items())
    tasks = {task.name: task for task in schema.tasks}
    built = architecture(
        levels=_factories(kinds, model, schema, general, dtype),
        tasks=tuple(tasks[name] for name in schema.task_order()),
        input=functools.partial(
            ModelInput, normalisation=general.normalisation, dropout=general.embedding_dropout
        ),
        tower=functools.partial(
            Tower,
            hidden=tuple(general.tower_hidden),
            dropout=general.dropout,
            dtype=dtype,
            outputs=tuple((f"tower_{task}", count) for task, count in (outputs or {}).items()),
        ),
        dropout=general.dropout,
        dtype=dtype,
        **parts,
    )
    return completed(built, model, schema, table_init, dtype)


def embeddings_of(text: str) -> dict[str, str]:
    """Reads option `model.numbers`, 'age=periodic,price=scaled', into {field: its embedding}.

    'periodic' is that of all standardised numbers, {"": "periodic"}.
    """
    if "=" not in text:
        return {"": choose("model.numbers", text, EMBEDDINGS)}
    chosen = pairs(text, "model.numbers", "field=embedding")
    for name, embedding in chosen.items():
        choose(f"model.numbers: embedding of {name}", embedding, EMBEDDINGS)
    return chosen


def layout(model: ConfigDict, schema: Schema) -> tuple[Kinds, ...]:
    """Which experts each group of each level has, as the architecture says and the options fill."""
    name = choose("architecture", model.architecture, ARCHITECTURES)
    architecture = ARCHITECTURES[name]
    own = options_of(model, schema)
    architecture.check(schema, own)
    taken = [task for task in schema.task_names if task in (SHARED, "input")]
    if taken:
        raise UserError(f"a task cannot be called {taken[0]!r}: the model has a part of that name")
    levels = architecture.layout(schema, own)
    if bool(levels) != architecture.takes_experts or any(
        isinstance(level, str) or not level for level in levels
    ):
        raise UserError(
            f"architecture {name!r} has the layout {levels!r}; expected the names of its groups, a "
            "tuple a level, such as (('shared',),); where there are none, (), and the class says "
            "takes_experts = False"
        )
    if not levels:
        return ()
    usual = parse_experts(model.experts)
    others = {
        choose(f"group of {name}", group, levels[0]): parse_experts(text)
        for group, text in pairs(
            model.group_experts, "model.group_experts", "group=experts"
        ).items()
    }
    return tuple({group: others.get(group, usual) for group in level} for level in levels)


def codebooks(model: ConfigDict, schema: Schema) -> int:
    """C, the number of HCNet's codebooks in the model: one for each expert that takes one."""
    experts = [e for level in layout(model, schema) for kinds in level.values() for e in kinds]
    return sum(takes(EXPERTS[kind], "codebook") for kind in experts)


def views(model: ConfigDict, schema: Schema) -> tuple[str, ...]:
    """The views of the fields, each with its own embedding tables, that the model reads."""
    name = choose("architecture", model.architecture, ARCHITECTURES)
    return ARCHITECTURES[name].views(schema, options_of(model, schema))


def with_roles(config: FrozenConfigDict, schema: Schema) -> FrozenConfigDict:
    """The config with the names of the fields that its architecture reads by their role: a run
    keeps them, whatever the schema file says later."""
    name, own = config.model.architecture, vars(options_of(config.model, schema))
    fields = {f: own[f] for f, option in declared(ARCHITECTURES[name]).items() if option.role}
    if not fields:
        return config
    changed = ConfigDict(config.to_dict())
    changed.model[name].update(fields)
    return FrozenConfigDict(changed)


def options_of(model: ConfigDict, schema: Schema) -> SimpleNamespace:
    """The options of the config's architecture, with the fields that it reads by their role."""
    name = model.architecture
    architecture = ARCHITECTURES[name]
    return with_fields(own_options(model, name, architecture), name, architecture, schema)


def _factories(
    levels: tuple[Kinds, ...],
    model: ConfigDict,
    schema: Schema,
    general: SimpleNamespace,
    dtype: jnp.dtype,
) -> tuple:
    """`Architecture.levels`: of each level the groups, of each group its experts' factories."""
    codebook = itertools.count()  # each expert that takes one has the next

    def maker(kind: str) -> functools.partial:
        expert = EXPERTS[kind]
        parts = {"width": general.expert_dim, "dropout": general.dropout, "dtype": dtype}
        if takes(expert, "codebook"):
            parts["codebook"] = next(codebook)
        if takes(expert, "places"):
            fields = pair_fields(schema, own_options(model, kind, expert).fields)
            parts["places"] = tuple(map(schema.read_names.index, fields))
        return factory(expert, kind, model, **parts)

    def experts(kinds: tuple[str, ...]) -> Experts:
        return tuple(
            (f"{kind}_{kinds[:place].count(kind)}", maker(kind)) for place, kind in enumerate(kinds)
        )

    return tuple(
        tuple((group, experts(kinds)) for group, kinds in groups.items()) for groups in levels
    )


def _dtype(name: str) -> jnp.dtype:
    if name == "float64" and not jax.config.jax_enable_x64:
        raise UserError("model.dtype: float64 needs the environment variable JAX_ENABLE_X64=1")
    return jnp.dtype(name)


def read_by(model: ConfigDict | FrozenConfigDict, schema: Schema) -> Schema:
    """The schema with the task graph and the embeddings of numbers that the options `model` say."""
    if model.upstream:
        schema = schema.with_upstream(task_graph(model.upstream))
    if model.numbers:
        schema = schema.with_embeddings(embeddings_of(model.numbers))
    return schema


def task_graph(text: str) -> dict[str, tuple[str, ...]]:
    """Reads 'cart:click,order:click+cart' into {task: its upstream tasks}; '=' does for ':'."""
    graph = pairs(text.replace(":", "="), "model.upstream", "task:upstream+upstream")
    return {name: tuple(up.strip() for up in ups.split("+")) for name, ups in graph.items()}
