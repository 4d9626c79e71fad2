"""What is fixed for the paper's tables before they are made: per data set, per table.

A table is a list of entries. Those of `overall` are tuned, each with as many trials of the same
space on the same part of train; the entries of every other table take the settings that one of
them was tuned to, and change what the table is about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

Settings = Mapping[str, object]
OURS = "dtn"  # the entry that the others are tested against


@dataclasses.dataclass(frozen=True)
class Published:
    """Test AUCs that others printed: {architecture: {task: AUC}}."""

    source: str
    note: str
    auc: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What all tables of a data set share.

    Attributes:
      config: the config file that all entries start from.
      common: settings of all entries.
      entries: {name: its own settings}, those of `overall`.
      trials: of each entry's tuning, on validation.
      tuning: settings of the trials alone: less data, fewer epochs.
      seeds: how many final runs an entry has, seeds 1, 2, …; trials use seed 0.
      tested: the tasks whose differences are tested; () is all of them.
      note: what a reader of the tables should know beside that.
      width: the option that `matched` turns to make entries equally large.
      sensitivity: {option: values}; the tuned value of each other option stays.
      published: what others printed, shown beside ours and never mixed with it.
    """

    config: str
    common: Settings
    entries: Mapping[str, Settings]
    trials: int
    tuning: Settings
    seeds: int
    width: str
    sensitivity: Mapping[str, tuple]
    tested: tuple[str, ...] = ()
    note: str = ""
    published: tuple[Published, ...] = ()


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of a table.

    Attributes:
      name: shown.
      tuned_as: the entry of `overall` whose tuned settings it has.
      settings: what it changes.
      group: rows of one group stand together; in `sensitivity` the option that varies.
      at: in `sensitivity` and `interactions`, the value there.
      against: the entry that it is tested against.
    """

    name: str
    tuned_as: str
    settings: Settings = dataclasses.field(default_factory=dict)
    group: str = ""
    at: str = ""
    against: str = OURS


def entry(architecture: str, experts: str) -> dict:
    return {"model.architecture": architecture, "model.experts": experts}


# Rivals have MLP experts, as their papers define them, in the papers' usual numbers; DTN has one
# of each of three kinds. `matched` shows what size alone does, `interactions` what experts do.
RIVALS = {
    "shared_bottom": entry("shared_bottom", "mlp"),
    "single_task": entry("single_task", "mlp"),
    "mmoe": entry("mmoe", "mlp*8"),
    "ple": entry("ple", "mlp*2"),
    "aitm": entry("aitm", "mlp"),
    "stem": entry("stem", "mlp*2"),
    "adatt": entry("adatt", "mlp*2"),
}
FUNNEL_RIVALS = RIVALS | {"esmm": entry("esmm", "mlp")}

SETTLED = "Sizes and common settings were settled on validation, with DTN."
NO_FUNNEL = " No task is upstream of another: AITM hands nothing down, and DTN's TSN does nothing."

CENSUS_PUBLISHED = (
    Published(
        "PLE (Tang et al. 2020), table 5",
        "as others transcribed it",
        {
            "single_task": {"income": 0.9445, "never_married": 0.9923},
            "mmoe": {"income": 0.9393, "never_married": 0.9928},
            "ple": {"income": 0.9522, "never_married": 0.9945},
        },
    ),
    Published(
        "torch-rechub",
        "README of its ranking examples",
        {
            "shared_bottom": {"income": 0.9560, "never_married": 0.9948},
            "mmoe": {"income": 0.9579, "never_married": 0.9950},
            "ple": {"income": 0.9593, "never_married": 0.9950},
            "aitm": {"income": 0.9595, "never_married": 0.9951},
        },
    ),
)

PROTOCOLS = {
    "adult": Protocol(
        config="configs/adult.py",
        common={"optim.schedule": "cosine", "model.mlp.hidden": (128,)},
        entries={OURS: entry("dtn", "masknet+dcnv2+mlp")} | RIVALS,
        trials=20,
        tuning={},
        seeds=5,
        width="model.mlp.hidden",
        sensitivity={
            "model.embedding_dim": (4, 8, 16, 32),
            "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
            "model.dcnv2.layers": (1, 2, 3),
            "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
        },
        note=SETTLED + NO_FUNNEL,
    ),
    "census_income": Protocol(
        config="configs/census_income.py",
        common={
            "data.batch_size": 512,
            "train.epochs": 3,
            "optim.schedule": "cosine",
            "model.mlp.hidden": (256,),
            "model.masknet.mask_hidden": 128,
            "model.masknet.block_dim": 64,
            "model.dcnv2.rank": 32,
            "model.hcnet.shrinking": "sum",
        },
        entries={OURS: entry("dtn", "masknet+dcnv2+mlp")} | RIVALS,
        trials=20,
        tuning={"data.train_share": 0.2, "train.epochs": 2},
        seeds=5,
        width="model.mlp.hidden",
        sensitivity={
            "model.embedding_dim": (4, 8, 16, 32),
            "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
            "model.dcnv2.layers": (1, 2, 3),
            "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
        },
        note=SETTLED + NO_FUNNEL,
        published=CENSUS_PUBLISHED,
    ),
    "kuairand": Protocol(
        config="configs/kuairand.py",
        common={
            "optim.schedule": "cosine",
            "model.mlp.hidden": (128,),
            "model.masknet.mask_hidden": 64,
            "model.masknet.block_dim": 64,
        },
        entries={OURS: entry("dtn", "masknet+dcnv2+mlp")} | FUNNEL_RIVALS,
        trials=20,
        tuning={},
        seeds=5,
        width="model.mlp.hidden",
        sensitivity={
            "model.embedding_dim": (4, 8, 16),
            "model.experts": ("masknet+dcnv2+mlp", "masknet*2+dcnv2*2+mlp*2"),
            "model.dcnv2.layers": (1, 2, 3),
            "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
        },
        tested=("click", "long_view"),
        note=SETTLED + " Trials and states are chosen by the mean of click and long_view. One long "
        "view in a hundred has no click, so that p(long_view | click) is not quite the quotient.",
    ),
    "synthetic": Protocol(
        config="configs/synthetic.py",
        common={
            "train.epochs": 3,
            "optim.table_init": 0.1,
            "model.mlp.hidden": (256,),
        },
        entries={OURS: entry("dtn", "gdcn+masknet+mlp")} | FUNNEL_RIVALS,
        trials=20,
        tuning={"data.train_share": 0.2, "train.epochs": 2},
        seeds=3,
        width="model.mlp.hidden",
        sensitivity={
            "model.embedding_dim": (4, 8, 16),
            "model.experts": ("gdcn+masknet+mlp", "gdcn*2+masknet*2+mlp*2"),
            "model.gdcn.layers": (1, 2, 3),
            "model.hcnet.codebook_rows": (1_000, 10_000, 100_000),
        },
        note=SETTLED,
    ),
}
