"""A tiny protocol, and runs and tunings of it that cost nothing.

Called as a program it makes tables from invented runs, and notes in a file what it began:

python invented_runs.py LOG ARGUMENTS OF PAPER_TABLES
"""

import json
import pathlib
import sys
import time

import numpy as np

from dtn_jax.cli import paper_tables
from dtn_jax.files import locked
from dtn_jax.papertables import runs, tune, written
from dtn_jax.papertables.protocol import Protocol, entry
from dtn_jax.run import outcome
from dtn_jax.run.workdir import LOCK, Busy

DRAWN = np.linspace(-0.1, 0.1, 20)  # draws of the test rows, few for time
TINY = Protocol(
    config="configs/adult.py",
    common={
        "train.max_steps": 4,
        "train.epochs": 1,
        "model.embedding_dim": 4,
        "model.expert_dim": 8,
        "model.tower_hidden": (8,),
        "model.mlp.hidden": (8,),
        "optim.learning_rate": 3e-2,
        "optim.table_learning_rate": 3e-2,
        "parallel.devices": 1,
    },
    entries={"dtn": entry("dtn", "mlp"), "shared_bottom": entry("shared_bottom", "mlp")},
    trials=1,
    finalists=1,
    seeds=2,
    draws=len(DRAWN),
    sensitivity={"model.embedding_dim": (4,)},
)
KEYS = ("income@all", "never_married@all")
OTHERS = {  # of the other data sets
    "synthetic": ("click@all", "cart@all", "order@all"),
    "shop": ("click@all", "buy@all"),
}


def invented(config, folder, auc=None, drawn=DRAWN, edit=lambda results, draws: None):
    """Leaves what a run leaves, with the same metrics for every task; by the seed alone."""
    auc = 0.8 + config.seed / 1000 if auc is None else auc
    keys = OTHERS.get(config.data.dataset, KEYS)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = {"auc": auc, "logloss": 0.3, "ece": 0.1, "positives": 500, "examples": 5000}
    results = {
        "dataset": config.data.dataset,
        "architecture": config.model.architecture,
        "experts": config.model.experts,
        "seed": config.seed,
        "parameters": 1_234_567,
        "table_parameters": 10,
        "flops_per_example": 2_000,
        "steps": 60,
        "best_steps": {"mean": 60},
        "examples_per_second": float(config.data.batch_size),
        "validation": {},
        "test": {key: dict(own) for key in keys},
    }
    draws = dict.fromkeys(keys, auc + drawn)
    edit(results, draws)
    facts = {"config": config.to_dict(), "data": "", "versions": {"jax": "0"}}
    (folder / "config.json").write_text(json.dumps(facts | {"logits": "log-odds"}))
    np.savez(folder / runs.DRAWN, **{runs.DEVICE: np.array("cpu")}, **draws)
    outcome.write(folder, results)
    return results


def untuned(protocol, name, config, data, folder, tried):
    return {"settings": {}, "at_edge": ["optim.b1"]}


def noted(log, name):
    """Notes that a job begins, which takes a moment."""
    with log.open("a") as out:
        out.write(f"begin {name}\n")
    time.sleep(0.3)


if __name__ == "__main__":
    log = pathlib.Path(sys.argv[1])

    def train(config, folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = locked(folder / LOCK)
        if held is None:
            raise Busy("taken")
        with held:
            noted(log, f"{config.model.architecture} {config.seed}")
            return invented(config, folder)

    def tuning(protocol, name, *rest):
        noted(log, f"tuning {name}")
        return untuned(protocol, name, *rest)

    runs.train, runs.draw, tune.tune = train, lambda *_: None, tuning
    written.pictures.draw = lambda made, stem: []
    paper_tables.main(sys.argv[2:])
