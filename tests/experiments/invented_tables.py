"""A table's content from invented cells; no test is in here."""

import numpy as np

from dtn_jax.metrics.significance import DRAWS
from experiments.tables.content import content
from experiments.tables.draws import packed
from experiments.tables.protocol import Entry, Protocol, Published, entry

PROTOCOL = Protocol(
    config="configs/adult.py",
    common={},
    entries={"dtn": entry("dtn", "mlp"), "mmoe": entry("mmoe", "mlp"), "ple": entry("ple", "mlp")},
    trials=7,
    seeds=3,
    width="model.mlp.hidden",
    sensitivity={},
    published=(Published("A paper", "another split", {"ple": {"click": 0.7, "order": 0.8}}),),
)
EXAMPLES = 1e-3 * np.random.default_rng(0).normal(size=DRAWS)


def cell(architecture, seed, auc, positives=500):
    """A cell whose AUC on order is `auc`, and on click has too few positives."""
    own = auc + 1e-5 * seed
    metrics = {"auc": own, "logloss": 0.5 - own / 10, "ece": 0.01 * seed, "examples": 5000}
    metrics |= {"predicted_observed": 1 + 0.01 * seed}
    return {
        "results": {
            "seed": seed,
            "test": {
                "click@all": metrics | {"positives": 99},
                "order@click": metrics | {"positives": positives, "gauc": own - 0.1},
            },
            "experts": "mlp*2",
            "parameters": 1_234_567,
            "table_parameters": 10,
            "flops_per_example": 2_000,
        },
        "train_seconds": 60.0 + seed,
        "draws": {k: packed(own + EXAMPLES, own) for k in ("click@all", "order@click")},
        "config": {"model.architecture": architecture, "seed": str(seed)},
        "code": "abc",
        "versions": {"jax": "1.2"},
        "device": "cpu x 1, 2 cores",
        "date": "2026-01-01",
    }


def found(aucs, table="overall", **missing):
    cells = {
        name: [cell(name, seed, auc) for seed in range(1, 4 - missing.get(name, 0))]
        for name, auc in aucs.items()
    }
    entries = [Entry(name, name) for name in PROTOCOL.entries]
    tuned = {"settings": {"seed": "1"}, "value": 0.5, "budget": {}, "at_edge": ["optim.b1"]}
    tunings = dict.fromkeys(aucs, tuned)
    of_order = {"auc": 0.6, "gauc": 0.55, "logloss": 0.35, "predicted_observed": 1.1, "ece": 0.3}
    trees = {"click@all": 0.7, "order@click": of_order}  # of click only the AUC is known
    references = {"trees": {"version": "trees 1.0", "test": trees, "note": "grown, not trained"}}
    made = content("adult", table, PROTOCOL, entries, cells, tunings, references)
    return made | {"command": "python -m x --a='b & c'"}
