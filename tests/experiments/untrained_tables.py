"""A small protocol, and runs and tunings of it that cost nothing; no test is in here.

Called as a program it makes tables from them, and notes in a file what it began:

python untrained_tables.py LOG ARGUMENTS OF PAPER_TABLES
"""

import pathlib
import sys
import time

import numpy as np

from experiments import paper_tables
from experiments.tables import cells, draws, tuning
from experiments.tables.protocol import Protocol, entry

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
    sensitivity={"model.embedding_dim": (4,)},
)


def invented(config, data, run):
    """A cell that costs nothing; what it says depends on the seed alone."""
    auc = 0.8 + config.seed / 1000
    found = {"auc": auc, "logloss": 0.3, "ece": 0.1, "positives": 500, "examples": 1000}
    results = {"seed": config.seed, "test": {f"{t}@all": found for t in data.schema.task_names}}
    results |= {"experts": "mlp", "parameters": 1}
    results |= {"table_parameters": 1, "flops_per_example": 1}
    drawn = draws.packed(auc + np.linspace(-0.1, 0.1, 20), auc)
    return {
        "results": results,
        "train_seconds": 1.0,
        "draws": dict.fromkeys(results["test"], drawn),
        **cells.origin(config, data),
    }


def untuned(protocol, name, config, data, run):
    kept = {"settings": {}, "value": 0.5, "budget": {}, "at_edge": []}
    return kept | cells.origin(config, data)


def noted(job, log):
    """The job, which takes a moment and notes that it begins."""

    def do(*arguments):
        config = next(a for a in arguments if hasattr(a, "model"))
        name = f"{job.__name__} {config.model.architecture} {config.seed}"
        with log.open("a") as out:
            out.write(f"begin {name}\n")
        time.sleep(0.3)
        return job(*arguments)

    return do


if __name__ == "__main__":
    log = pathlib.Path(sys.argv[1])
    cells.compute, tuning.tune = noted(invented, log), noted(untuned, log)
    paper_tables.table_plots.draw = lambda found, stem: []
    paper_tables.main(sys.argv[2:])
