"""A tiny protocol, and runs and tunings of it that cost nothing.

Called as a program it makes tables from invented runs, and notes in a file what it began:

python invented_runs.py LOG ARGUMENTS OF PAPER_TABLES
"""

import pathlib
import sys
import time

import numpy as np

from dtn_jax.cli import paper_tables
from dtn_jax.papertables import cells, draws, tuning
from dtn_jax.papertables.protocol import Protocol, entry

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
DRAWN = 20  # draws of the test rows, few for time


def cell(config, data, auc, drawn, **metrics):
    """What a run of a table leaves, with the same metrics for every task."""
    own = {"auc": auc, "logloss": 0.3, "ece": 0.1, "positives": 500, "examples": 5000} | metrics
    tests = {f"{name}@all": dict(own) for name in data.schema.task_names}
    return {
        "results": {
            "seed": config.seed,
            "test": tests,
            "experts": config.model.experts,
            "parameters": 1_234_567,
            "table_parameters": 10,
            "flops_per_example": 2_000,
        },
        "train_seconds": 60.0,
        "draws": {key: draws.packed(auc + drawn, auc) for key in tests},
        **cells.origin(config, data),
    }


def invented(config, data, run):
    """A cell that costs nothing; what it says depends on the seed alone."""
    return cell(config, data, 0.8 + config.seed / 1000, np.linspace(-0.1, 0.1, DRAWN))


def untuned(protocol, name, config, data, run):
    kept = {"settings": {}, "value": 0.5, "budget": {}, "at_edge": ["optim.b1"]}
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
