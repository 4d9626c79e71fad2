"""Which options a config has: its sections, and who declares what stands in them."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax import losses
from dtn_jax.analysis.watch import WatchOptions
from dtn_jax.balancing import BALANCERS, balancer
from dtn_jax.data.epochs.batches import BatchOptions
from dtn_jax.data.sets.catalog import DATASETS, DataOptions
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.data.sets.logs import Logs
from dtn_jax.errors import UserError
from dtn_jax.field import SCALED
from dtn_jax.losses import LOSSES, LossOptions
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.metric import Metric
from dtn_jax.models.architectures import ARCHITECTURES, Architecture
from dtn_jax.models.build import ModelOptions, embeddings_of
from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.options import Option, declared, option, pairs
from dtn_jax.parallel.memory import MemoryOptions
from dtn_jax.parallel.mesh import MeshOptions
from dtn_jax.parallel.processes import ProcessOptions
from dtn_jax.report.trackers import TrackerOptions
from dtn_jax.run.evaluate import EvaluateOptions
from dtn_jax.run.optimizers import AveragingOptions, OptimOptions
from dtn_jax.run.timetable import TrainOptions
from dtn_jax.tables.updater import TableOptions


@dataclasses.dataclass(frozen=True)
class RootOptions:
    """The options that stand in no section."""

    seed: int = option(
        0,
        "initial weights, dropout, epoch order; never the split, which is the data set's",
        least=0,
        below=2**32,
    )
    replicas: str = option(
        "",
        "runs in one program: '4' takes seeds seed, seed+1, ...; or values of scalar options, "
        "'optim.learning_rate=1e-3,3e-4' (as many of each option)",
    )
    plugins: str = option("", "files of your own, by comma: dtn_jax/config/plugins.py says how")


SECTIONS: dict[str, tuple[type, ...]] = {
    "": (RootOptions,),
    "data": (DataOptions, BatchOptions),
    "model": (ModelOptions,),
    "loss": (LossOptions,),
    "optim": (OptimOptions, TableOptions),
    "train": (TrainOptions, AveragingOptions, TrackerOptions),
    "evaluate": (EvaluateOptions,),
    "analysis": (WatchOptions,),
    "parallel": (MeshOptions, ProcessOptions, MemoryOptions),
}


@dataclasses.dataclass(frozen=True)
class Family:
    """Things of one kind, each with options of its own under `section.<its name>`.

    Attributes:
      section: where they stand.
      members: {name: who declares its options}; plug-ins add to it.
      used: of a flat config, the names of those that its run has; options of others mean nothing.
      base: each is a subclass of it; a metric is one.
      make: what a run does with one of a plug-in before all else, which raises where it lacks
        something; None where plug-ins have none.
    """

    section: str
    members: dict
    used: Callable[[Mapping[str, object]], set[str]]
    base: type = object
    make: Callable[[Any], Any] | None = None


OF_EXPERTS = ("model.experts", "model.group_experts", "model.expert_dim")


def takes_experts(flat: Mapping[str, object]) -> bool:
    """Whether the architecture has experts, as far as it is known; most have."""
    architecture = ARCHITECTURES.get(str(flat["model.architecture"]))
    return architecture is None or architecture.takes_experts


def used_experts(flat: Mapping[str, object]) -> set[str]:
    """The kinds of experts that `model.experts` and `model.group_experts` name."""
    if not takes_experts(flat):
        return set()
    groups = pairs(str(flat["model.group_experts"]), "model.group_experts", "group=experts")
    texts = [str(flat["model.experts"]), *groups.values()]
    return {kind for text in texts for kind in parse_experts(text)}


def used_histories(flat: Mapping[str, object]) -> set[str]:
    """The ways of pooling that `model.histories` names."""
    text = str(flat["model.histories"])
    return {*pairs(text, "model.histories", "field=way").values()} if "=" in text else {text}


def used_numbers(flat: Mapping[str, object]) -> set[str]:
    """The embeddings that `model.numbers` names, or, where it is '', that a schema file may: one's
    own, since those of the package name none."""
    if text := str(flat["model.numbers"]):
        return {*embeddings_of(text).values()} - {SCALED}
    data_set = DATASETS.get(str(flat["data.dataset"]))
    return set(NUMBERS) if data_set and (data_set is Logs or data_set.SOURCE) else set()


def used_losses(flat: Mapping[str, object]) -> set[str]:
    """The losses that `loss.tasks` names."""
    return {*pairs(str(flat["loss.tasks"]), "loss.tasks").values()}


def named_in(key: str) -> Callable[[Mapping[str, object]], set[str]]:
    """All words in the value of an option."""
    return lambda flat: {*re.findall(r"\w+", str(flat[key]))}


def built(arguments: str, *given: str) -> Callable[[type], None]:
    """Makes one as a run does: with what it is given, and its options at their defaults."""

    def make(member: type) -> None:
        fields = {field.name for field in dataclasses.fields(member)}
        optional = fields & {"inflation", "dropout", "codebook"}
        if not callable(member(**dict.fromkeys((*given, *optional)))):
            raise UserError(f"expected a method __call__({arguments})")

    return make


GIVEN = ("levels", "tasks", "input", "tower", "dropout", "dtype")  # to an architecture
built_architecture = built("inputs, train", *GIVEN)
built_expert = built("fields, codewords, train", "width", "dtype")
made_set = lambda own: own(data_dir="").recipe()  # noqa: E731
ARCHITECTURE = named_in("model.architecture")
FAMILIES = {  # by the dict of a plug-in that adds to one
    "ARCHITECTURES": Family("model", ARCHITECTURES, ARCHITECTURE, Architecture, built_architecture),
    "EXPERTS": Family("model", EXPERTS, used_experts, nn.Module, built_expert),
    "HISTORIES": Family("model", HISTORIES, used_histories),
    "NUMBERS": Family("model", NUMBERS, used_numbers),
    "DATASETS": Family("data", DATASETS, named_in("data.dataset"), DataSet, made_set),
    "METRICS": Family("train", METRICS, named_in("train.select"), Metric, lambda own: own.text(1)),
    "LOSSES": Family("loss", LOSSES, used_losses, object, losses.check),
    "BALANCERS": Family(
        "loss", BALANCERS, named_in("loss.balancing"), balancer.Balancer, balancer.check
    ),
}


@dataclasses.dataclass(frozen=True)
class Declared:
    """An option of a config: its full key, its declaration, and whose it is.

    Attributes:
      key: such as `model.dtn.tsn`.
      option: the declaration.
      family, members: of the things that have it, such as an architecture and its subclasses; None
        and () of a section's own.
    """

    key: str
    option: Option
    family: Family | None = None
    members: tuple[str, ...] = ()


def declarations() -> Mapping[str, Declared]:
    """{full key: what is declared}, of all that there is, loaded plug-ins included."""
    return _all_of(tuple(tuple(family.members.items()) for family in FAMILIES.values()))


@functools.cache
def _all_of(members: tuple) -> Mapping[str, Declared]:
    """Gathered once, and again where a plug-in has added to the members."""
    every: dict[str, Declared] = {}
    for section, owners in SECTIONS.items():
        for owner in owners:
            for name, one in declared(owner).items():
                key = one.key or f"{section}.{name}".lstrip(".")
                every[key] = Declared(key, one)
        for family in (one for one in FAMILIES.values() if one.section == section):
            for member, owner in family.members.items():
                for name, one in declared(owner).items():
                    key = one.key or f"{section}.{member}.{name}"
                    others = every[key].members if key in every else ()
                    every[key] = Declared(key, one, family, (*others, member))
    return types.MappingProxyType(every)


def defaults() -> dict[str, object]:
    """{'model.dropout': 0.0, ...}, of every option."""
    return {key: one.option.default for key, one in declarations().items()}


def base_config() -> ConfigDict:
    """Every option at its default; an edit of an unknown key fails."""
    return ConfigDict(unflatten_dict(defaults(), sep=".")).lock()


def flatten(config: Mapping | ConfigDict) -> dict[str, object]:
    """{'model.dropout': 0.0, ...}"""
    nested = config.to_dict() if isinstance(config, ConfigDict) else {**config}
    flat = flatten_dict(nested, sep=".")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in flat.items()}


def checked_config(config: ConfigDict | FrozenConfigDict) -> FrozenConfigDict:
    """Checks every value that can be checked without data; returns the config, frozen.

    Raises:
      UserError: on the first bad value, or where an option is absent or unknown.
    """
    flat, known = check_options(config), declarations()
    used_experts(flat)
    used_numbers(flat)
    for key, value in flat.items():
        option = known[key].option
        for other, choices in option.needs.items() if value != option.default else ():
            if flat[other] not in choices:
                needed = f"{other}={' or '.join(map(str, choices))}"
                raise UserError(f"{key}={value} needs {needed}, got {flat[other]}")
    return FrozenConfigDict(config)


def check_options(config: ConfigDict | FrozenConfigDict) -> dict[str, object]:
    """Checks every value by itself; returns the flat config.

    Raises:
      UserError: on the first bad value, or where an option is absent or unknown.
    """
    flat, known = flatten(config), declarations()
    for key in flat:
        if key not in known:
            raise UserError(f"the config has an option {key!r}.{did_you_mean(key)}")
    for key, owned in known.items():
        if key in flat:
            owned.option.check(key, flat[key])
        elif owned.family is None or {*owned.members} & owned.family.used(flat):
            raise UserError(f"the config has no {key!r}: a config edits that of configs/base.py")
    return flat


def did_you_mean(key: str, prefix: str = "") -> str:
    """' Did you mean optim.learning_rate?', for a key that is none, without its section, of
    initials (lr) or spelled alike; '' where there is none. The answer's keys have the prefix."""
    last = {k: k.rpartition(".")[2] for k in declarations()}
    name, names = key.rpartition(".")[2], {*last.values()}
    initials = {n: "".join(word[:1] for word in n.split("_")) for n in names}
    alike = [n for n in names if name == n or name == initials[n] != n[:1]]
    alike = alike or difflib.get_close_matches(name, names)
    near = [k for k in last if last[k] in alike]
    near = difflib.get_close_matches(key, near, n=2, cutoff=0) if len(near) > 2 else near
    return f" Did you mean {' or '.join(f'{prefix}{k}' for k in near)}?" if near else ""
