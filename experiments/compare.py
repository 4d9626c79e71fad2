"""Compares models on a data set under one protocol, and keeps what it found as JSON.

Every entry is tuned with the same trials (the same settings, drawn once, on the same rows and
epochs; validation decides, test stays shut), then trained with its best settings on seeds that
tuned nothing; only those runs read test, once each. Finished runs are not done again, so the
command can be stopped and called again. experiments/results_table.py makes tables from the JSON.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import random
from collections.abc import Mapping, Sequence

import rich

from dtn_jax import options
from dtn_jax.datasets import catalog
from dtn_jax.schema import choose
from dtn_jax.train import train
from dtn_jax.workdir import versions
from experiments import command

RESULTS = pathlib.Path(__file__).parent / "results"
EXAMPLE = "python -m experiments.compare --dataset=census_income --workdir=runs/compare"
Settings = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is fixed before any test row is read.

    Attributes:
      config: the config file that all entries start from.
      common: settings of all entries.
      entries: {name: its own settings}.
      space: {option: the values to draw from}, the same for every entry.
      trials: how many settings are tried for each entry; 0 trains with `common` as it is.
      seeds: of the final runs; trials use seed 0.
    """

    config: str
    common: Settings
    entries: Mapping[str, Settings]
    space: Mapping[str, Sequence]
    trials: int
    seeds: tuple[int, ...] = (1, 2, 3)

    def settings(self) -> list[dict]:
        """The trials: distinct points of the space, drawn with a fixed seed."""
        points = list(itertools.product(*self.space.values())) if self.space else []
        drawn = random.Random(0).sample(points, min(self.trials, len(points)))
        return [dict(zip(self.space, point)) for point in drawn]


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--dataset", help=f"one of: {', '.join(PROTOCOLS)}")
    parser.add_argument("--workdir", default="runs/compare", help="the runs' folders go here")
    parser.add_argument("--data_dir", default="", help="prepared sets; see configs/base.py")
    parser.add_argument("--manual_dir", default="", help="raw files; see configs/base.py")
    parser.add_argument("--entries", default="", help="only these entries, comma-separated")
    known = parser.parse_args(arguments)
    protocol = PROTOCOLS[choose("dataset", known.dataset or "", PROTOCOLS)]
    names = [n for n in known.entries.split(",") if n] or list(protocol.entries)
    for name in names:
        choose("entry", name, protocol.entries)
    places = {"data.data_dir": known.data_dir, "data.manual_dir": known.manual_dir}
    folder = pathlib.Path(known.workdir) / known.dataset
    for name in names:
        entry = run_entry(protocol, name, folder / name, places)
        notes = catalog.load(known.dataset, "", known.data_dir, known.manual_dir).notes
        arguments_ = ["experiments.compare", *arguments]
        record(known.dataset, protocol, name, entry, notes, arguments_)


def run_entry(
    protocol: Protocol, name: str, folder: pathlib.Path, places: Mapping[str, str]
) -> dict:
    """Tunes one entry and trains its seeds; returns what the JSON keeps of it."""

    def run(settings: Settings, at: pathlib.Path, *, test: bool) -> dict:
        config = options.load_config(protocol.config)
        given = {**protocol.common, **protocol.entries[name], **settings, **places}
        for key, value in given.items():
            options.override(config, key, str(value))
        return train(config, at, test=test)

    tried = []
    for number, settings in enumerate(protocol.settings()):
        rich.print(f"[bold]{name}: trial {number + 1} of {protocol.trials}[/] {settings}")
        results = run({**settings, "seed": 0}, folder / f"trial{number}", test=False)
        tried.append({"settings": settings, "validation": mean_auc(results["validation"])})
    best = max(tried, key=lambda t: t["validation"])["settings"] if tried else {}
    runs = []
    for seed in protocol.seeds:
        rich.print(f"[bold]{name}: seed {seed}[/] with {best or 'the common settings'}")
        runs.append(run({**best, "seed": seed}, folder / f"seed{seed}", test=True))
    return {"settings": best, "tuning": tried, "runs": runs}


def mean_auc(results: Mapping[str, Mapping]) -> float:
    """Mean AUC over tasks, each in the space of its loss (the first reported)."""
    first = {}
    for key, found in results.items():
        first.setdefault(key.partition("@")[0], found["auc"])
    return sum(first.values()) / len(first)


def record(
    dataset: str,
    protocol: Protocol,
    name: str,
    entry: dict,
    notes: Mapping,
    arguments: Sequence[str],
) -> None:
    """Adds the entry to the data set's JSON, and what the data set knows of itself."""
    path = RESULTS / f"{dataset}.json"
    found = json.loads(path.read_text()) if path.exists() else {"entries": {}}
    found |= {
        "dataset": dataset,
        "notes": notes,
        "protocol": {**dataclasses.asdict(protocol), "drawn": protocol.settings()},
    }
    entry |= {
        "command": f"python -m {arguments[0]} --dataset={dataset}",
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
        "cores": os.cpu_count(),
    }
    found["entries"][name] = entry
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


# The protocols. Sizes, experts and epochs were settled on validation, and the space is the same
# for all entries of a data set. DTN, MMoE and PLE have about equal forward FLOPs on
# census_income; shared_bottom and single_task have their usual, smaller sizes.

SPACE = {
    "optim.learning_rate": (1e-3, 2e-3, 4e-3),
    "optim.table_l2": (0.0, 1e-5, 1e-4),
    "model.dropout": (0.1, 0.2, 0.3, 0.4),
    "model.embedding_dropout": (0.0, 0.1),
}
PROTOCOLS = {
    "adult": Protocol(  # the settings of configs/adult.py, as `make demo` has them
        config="configs/adult.py",
        common={},
        entries={
            "dtn": {"model.architecture": "dtn"},
            "shared_bottom": {"model.architecture": "shared_bottom", "model.experts": "mlp"},
        },
        space={},
        trials=0,
    ),
    "census_income": Protocol(
        config="configs/census_income.py",
        common={
            "data.batch_size": 512,
            "train.epochs": 3,
            "optim.schedule": "cosine",
            "model.embedding_dim": 16,
            "model.expert_dim": 64,
            "model.tower_hidden": (64,),
            "model.mlp.hidden": (256,),
            "model.masknet.mask_hidden": 128,
            "model.masknet.block_dim": 64,
            "model.dcnv2.rank": 32,
        },
        entries={
            "dtn": {"model.architecture": "dtn", "model.experts": "masknet+dcnv2+mlp"},
            "mmoe": {"model.architecture": "mmoe", "model.experts": "mlp*8"},
            "ple": {"model.architecture": "ple", "model.experts": "mlp*2"},
            "shared_bottom": {"model.architecture": "shared_bottom", "model.experts": "mlp"},
            "single_task": {"model.architecture": "single_task", "model.experts": "mlp"},
        },
        space=SPACE,
        trials=4,
    ),
    # dtn and dtn_mlp differ in the kind of their experts alone: 179 thousand parameters a group
    # in both. The common settings were found on the validation split with dtn.
    "synthetic": Protocol(
        config="configs/synthetic.py",
        common={
            "train.epochs": 3,
            "optim.table_l2": 1e-3,
            "optim.learning_rate": 2e-3,
            "optim.table_learning_rate": 4e-3,
            "optim.table_init": 0.1,
        },
        entries={
            "dtn": {"model.architecture": "dtn", "model.experts": "gdcn+mlp"},
            "dtn_mlp": {
                "model.architecture": "dtn",
                "model.experts": "mlp*2",
                "model.mlp.hidden": (360,),
            },
        },
        space={},
        trials=0,
    ),
}

if __name__ == "__main__":
    command.run(main)
