"""Which options a config has: its sections, and who declares what stands in them."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import no_type_check

from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.analysis.watch import WatchOptions
from dtn_jax.balancing import BALANCERS
from dtn_jax.data.epochs.batches import BatchOptions
from dtn_jax.data.sets.catalog import DATASETS, DataOptions
from dtn_jax.data.sets.logs import Logs
from dtn_jax.errors import UserError
from dtn_jax.field import SCALED
from dtn_jax.losses import LOSSES, LossOptions
from dtn_jax.models.architectures import ARCHITECTURES
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
    "optim": (OptimOptions,),
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
    """

    section: str
    members: Mapping[str, type]
    used: Callable[[Mapping[str, object]], set[str]]


OF_EXPERTS = ("model.experts", "model.group_experts", "model.expert_dim")


def takes_experts(flat: Mapping[str, object]) -> bool:
    """Whether the architecture has experts, as far as it is known; most have."""
    architecture = ARCHITECTURES.get(str(flat["model.architecture"]))
    return architecture is None or architecture.takes_experts


def used_experts(flat: Mapping[str, object]) -> set[str]:
    """The kinds of experts that `model.experts` and `model.group_experts` name."""
    if not takes_experts(flat):
        return set()
    texts = [str(flat["model.experts"])]
    texts += pairs(
        str(flat.get("model.group_experts", "")), "model.group_experts", "group=experts"
    ).values()
    return {kind for text in texts for kind in parse_experts(text)}


def used_histories(flat: Mapping[str, object]) -> set[str]:
    """The ways of pooling that `model.histories` names."""
    text = str(flat.get("model.histories", ""))
    if "=" not in text:
        return {text} - {""}
    return {*pairs(text, "model.histories", "field=way").values()}


def used_numbers(flat: Mapping[str, object]) -> set[str]:
    """The embeddings that `model.numbers` names, or, where it is '', that a schema file may: one's
    own, since those of the package name none."""
    if text := str(flat.get("model.numbers", "")):
        return {*embeddings_of(text).values()} - {SCALED}
    data_set = DATASETS.get(str(flat.get("data.dataset")))
    return set(NUMBERS) if data_set and (data_set is Logs or data_set.SOURCE) else set()


FAMILIES = (
    Family("model", ARCHITECTURES, lambda flat: {str(flat["model.architecture"])}),
    Family("model", EXPERTS, used_experts),
    Family("model", HISTORIES, used_histories),
    Family("model", NUMBERS, used_numbers),
    Family("loss", LOSSES, lambda flat: {*pairs(str(flat["loss.tasks"]), "loss.tasks").values()}),
    Family("loss", BALANCERS, lambda flat: {str(flat["loss.balancing"])}),
)


@dataclasses.dataclass(frozen=True)
class Declared:
    """An option of a config: its full key, its declaration, and whose it is.

    Attributes:
      key: such as `model.dtn.tsn`.
      option: the declaration.
      family, member: of the thing whose option it is; None and "" of a section's own.
      heirs: members that have it too, such as subclasses of that one.
    """

    key: str
    option: Option
    family: Family | None = None
    member: str = ""
    heirs: tuple[str, ...] = ()

    @property
    def members(self) -> set[str]:
        """The names of all that have the option."""
        return {self.member, *self.heirs}


def declarations() -> Mapping[str, Declared]:
    """{full key: what is declared}, of all that there is, loaded plug-ins included."""
    return _all_of(tuple(tuple(family.members.items()) for family in FAMILIES))


@functools.cache
def _all_of(members: tuple) -> Mapping[str, Declared]:
    """Gathered once, and again where a plug-in has added to the members."""
    every: dict[str, Declared] = {}
    for one in _declarations():
        if first := every.get(one.key):
            one = dataclasses.replace(first, heirs=(*first.heirs, one.member))
        every[one.key] = one
    return types.MappingProxyType(every)


def _declarations() -> Iterator[Declared]:
    for section, owners in SECTIONS.items():
        for owner in owners:
            for name, one in declared(owner).items():
                yield Declared(one.key or f"{section}.{name}".lstrip("."), one)
        for family in FAMILIES:
            if family.section != section:
                continue
            for member, owner in family.members.items():
                for name, one in declared(owner).items():
                    yield Declared(one.key or f"{section}.{member}.{name}", one, family, member)


def base_config() -> ConfigDict:
    """Every option at its default; an edit of an unknown key fails."""
    nested: dict = {section: {} for section in SECTIONS if section}
    for key, one in declarations().items():
        *sections, name = key.split(".")
        inside = nested
        for section in sections:
            inside = inside.setdefault(section, {})
        inside[name] = one.option.default
    return ConfigDict(nested).lock()


@no_type_check  # called for every section of a config, dozens of times a command
def flatten(config: Mapping | ConfigDict, prefix: str = "") -> dict[str, object]:
    """{'model.dropout': 0.0, ...}"""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list) else value
    return flat


def checked_config(config: ConfigDict | FrozenConfigDict) -> FrozenConfigDict:
    """Checks every value that can be checked without data; returns the config, frozen.

    Raises:
      UserError: on the first bad value, or where an option is absent or unknown.
    """
    flat = check_options(config)
    used_experts(flat)
    used_numbers(flat)
    if flat["train.accumulate"] > 1 and flat["model.normalisation"] == "batch":
        raise UserError(
            "train.accumulate > 1 does not go with model.normalisation=batch: the statistics of a "
            "batch need all of its rows at once; use layer or none"
        )
    if flat["train.evaluate_first"] and (flat["data.order"], flat["train.epochs"]) != ("day", 1):
        raise UserError(
            "train.evaluate_first=True needs data.order=day and train.epochs=1, got "
            f"data.order={flat['data.order']} and train.epochs={flat['train.epochs']}"
        )
    if flat["train.patience"] and flat["optim.schedule"] != "constant":
        raise UserError(
            f"train.patience={flat['train.patience']} does not go with optim.schedule="
            f"{flat['optim.schedule']}, whose rates fall to 0 at a last step; set "
            "train.patience=0 or optim.schedule=constant"
        )
    if flat["optim.tables"] == "dense" and flat["optim.table_dtype"] != "float32":
        raise UserError("optim.tables=dense needs optim.table_dtype=float32")
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
        elif owned.family is None or owned.members & owned.family.used(flat):
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
