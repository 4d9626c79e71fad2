"""A protocol: what is fixed for the paper's tables of a data set before they are made.

A table is a list of entries. Those of `overall` are tuned, each with as many trials of the same
space on the same part of train; the entries of every other table take the settings that one of
them was tuned to, and change what the table is about.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping

from ml_collections import ConfigDict

from dtn_jax.config import base_config, flatten, identity, load_config, override, plugins
from dtn_jax.losses.sample_weights import SWITCHES

Settings = Mapping[str, object]
OURS = "dtn"
AGAIN = ", tuned again"
SHORT = 16  # digits of a hash
LENGTH = "train.max_steps"
STEPS, TRIALS, SEEDS = 100, 2, 2  # of --quick, at most
MANY = 10  # with so many entries --quick tunes none, and gives each one seed
COUNTS = ("trials", "finalists", "seeds")
SHORTENED = "-shortened"  # the end of the folder of its tables


@dataclasses.dataclass(frozen=True)
class Published:
    """Test AUCs that others printed: {architecture: {task: AUC}}."""

    source: str
    note: str
    auc: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Dial:
    """A dial of the data that the table `divergence` turns.

    Attributes:
      option: of `data.options`; `common` has its usual value.
      values: at which the entries are compared.
      entries: those of the protocol that are compared; () is all.
      beside: other options of `data.options` that are not as in `common` meanwhile.
    """

    option: str
    values: tuple[float | int, ...]
    entries: tuple[str, ...] = ()
    beside: Mapping[str, float | int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all tables of a data set share.

    Attributes:
      config: the config file that all entries start from; it says which data set.
      entries: {name: its own settings}, those of `overall`.
      common: settings of all entries.
      ours: the entry that the others are tested against, and that the other tables are about.
      trials: what the search of each entry's settings may cost, in runs of full length: all of
        its trials together train on as many examples (tune.py); 0: nothing is searched.
      finalists: how many of the best settings are trained again, to choose the entry's.
      finalist_seeds: how many times each.
      transfer: whether every entry, once all are searched, tries the settings of all others too
        (tune.py).
      given: {where they were found: settings} that every entry tries then as well; tables do not
        report whether these lie at an edge of the search space.
      again: entries that are tuned twice, independently; their second rows show what tuning adds
        to the spread.
      seeds: how many final runs an entry has, seeds 1, 2, …; trials use seed 0.
      tested: the tasks whose differences are tested; () is all of them.
      note: what a reader of the tables should know beside that.
      width: the option that `matched` turns to make entries equally large.
      kinds: the experts that `interactions` compares in every routing, `mlp` among them.
      sensitivity: {option: values}; the tuned value of each other option stays.
      dials: of the data, for `divergence`: the first is the one that it is about.
      published: what others printed, shown beside ours and never mixed with it.
      cut: what was shortened, in words; () is a protocol in full: see `quick`.
    """

    config: str
    entries: Mapping[str, Settings]
    common: Settings = dataclasses.field(default_factory=dict)
    ours: str = OURS
    trials: int = 9
    finalists: int = 3
    finalist_seeds: int = 3
    transfer: bool = False
    given: Mapping[str, Settings] = dataclasses.field(default_factory=dict)
    again: tuple[str, ...] = ()
    seeds: int = 5
    tested: tuple[str, ...] = ()
    note: str = ""
    width: str = "model.mlp.hidden"
    kinds: tuple[str, ...] = ("mlp", "gdcn", "masknet", "hcnet", "dcnv2")
    sensitivity: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
    dials: tuple[Dial, ...] = ()
    published: tuple[Published, ...] = ()
    cut: tuple[str, ...] = ()

    def settings(self, name: str) -> Settings:
        """The settings of an entry of `overall`, tuned again or not."""
        return self.entries[name.removesuffix(AGAIN)]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of a table.

    Attributes:
      name: shown.
      tuned_as: the entry of `overall` whose tuned settings it has.
      settings: what it changes.
      group: rows of one group stand together; in `sensitivity` the option that varies.
      at: in `sensitivity` and `interactions`, the value there.
      against: the entry that it is tested against; "" is the protocol's own.
    """

    name: str
    tuned_as: str
    settings: Settings = dataclasses.field(default_factory=dict)
    group: str = ""
    at: str = ""
    against: str = ""


def entry(architecture: str, experts: str) -> dict[str, str]:
    """The settings of an entry of `overall`."""
    return {"model.architecture": architecture, "model.experts": experts}


def configured(protocol: Protocol, *given: Settings) -> ConfigDict:
    """The protocol's config with its common settings and these, the last ones winning."""
    settings = [pair for some in (protocol.common, *given) for pair in some.items()]
    plugins.load(",".join(str(value) for key, value in settings if key == "plugins"))
    config = load_config(protocol.config)
    for key, value in sorted(settings, key=lambda pair: pair[0] != "plugins"):  # they add options
        override(config, key, str(value))
    return config


def quick(full: Protocol, **counts: int) -> Protocol:
    """The protocol at a price that lets one look at its tables before they are made.

    What comes of it is no result: such a table says what was cut, lies in a folder of its own, and
    stands beside nothing that was trained in full.

    Args:
      full: the protocol.
      counts: of seeds and trials, where a call says them.
    """
    most = flatten(configured(full))[LENGTH]
    steps = {} if 0 < most <= STEPS else {LENGTH: STEPS}
    entries = {name: {**given, **steps} for name, given in full.entries.items()}
    trials, seeds = (0, 1) if len(full.entries) >= MANY else (TRIALS, SEEDS)
    usual = {"trials": min(full.trials, trials), "finalists": 1, "seeds": min(full.seeds, seeds)}
    middle = [dataclasses.replace(d, values=d.values[len(d.values) // 2 :][:1]) for d in full.dials]
    less = {"dials": tuple(middle[:1]), "transfer": False, "given": {}, "again": ()}
    less |= {"common": {**full.common, **steps}, "entries": entries, **usual, **counts}
    cut = [f"{key}={value} (in full: {most or 'no limit'})" for key, value in steps.items()]
    cut += [f"{less[name]} of {getattr(full, name)} {name}" for name in COUNTS]
    return dataclasses.replace(full, **less, cut=tuple(cut))


def digest(*facts: object) -> str:
    """A short hash of facts: equal for equal ones, in every process and version of Python."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:SHORT]


def usual() -> dict[str, object]:
    """The defaults that names and tables leave out: today's, but that no row has a weight."""
    return flatten(base_config()) | dict.fromkeys(SWITCHES, False)


def changed(config: ConfigDict | Mapping[str, str]) -> dict[str, str]:
    """The identity options that are not as usual, as text: a new option renames no run."""
    defaults, options = usual(), identity(config)
    return {k: str(v) for k, v in options.items() if str(v) != str(defaults.get(k))}


RIVALS = {
    "shared_bottom": entry("shared_bottom", "mlp"),
    "single_task": entry("single_task", "mlp"),
    "mmoe": entry("mmoe", "mlp*8"),
    "ple": entry("ple", "mlp*2"),
    "aitm": entry("aitm", "mlp"),
    "stem": entry("stem", "mlp*2"),
    "adatt": entry("adatt", "mlp*2"),
}
"""Rivals have MLP experts, as their papers define them, in the papers' usual numbers. `matched`
shows what size alone does, `interactions` what experts do."""
FUNNEL_RIVALS = RIVALS | {"esmm": entry("esmm", "mlp")}

SETTLED = "Sizes and common settings were settled on validation, with DTN."
NO_FUNNEL = " No task is upstream of another: AITM hands nothing down, and DTN's TSN does nothing."
