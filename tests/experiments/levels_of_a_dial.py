"""The content of a table `divergence` from invented cells; no test is in here."""

import numpy as np

from dtn_jax.metrics.significance import DRAWS
from experiments.tables.content import content
from experiments.tables.dials import dials
from experiments.tables.draws import packed
from experiments.tables.gaps import with_gaps
from experiments.tables.protocol import Dial, Protocol, entry

SHARED = "dtn_without_task_groups"
PROTOCOL = Protocol(
    config="configs/synthetic.py",
    common={"data.options": "rows=1000,divergence=0.5"},
    entries={
        "dtn": entry("dtn", "gdcn+mlp"),
        SHARED: entry("dtn", "gdcn*4+mlp*4") | {"model.dtn.task_groups": False},
        "mmoe": entry("mmoe", "mlp*8"),
        "ple": entry("ple", "mlp*2"),
        "ple_dtns_experts": entry("ple", "gdcn+mlp"),
    },
    trials=7,
    seeds=3,
    dials=(
        Dial("divergence", (0, 0.5, 1)),
        Dial("rows", (1000, 2000), ("dtn", "mmoe"), {"divergence": 1}),
    ),
)
KEYS = {"click@all": 0.84, "cart@all": 0.9, "cart@click": 0.8, "order@all": 0.93}  # the best AUCs
EXAMPLES = 1e-4 * np.random.default_rng(0).normal(size=DRAWS)


def cell(model, seed, gap):
    """A cell that lies `gap` below the best AUC in every space; seeds differ by 0.00001."""
    aucs = {key: best - gap + 1e-5 * seed for key, best in KEYS.items()}
    metrics = {k: {"auc": a, "positives": 500, "examples": 5000} for k, a in aucs.items()}
    return {
        "results": {
            "seed": seed,
            "test": metrics,
            "experts": PROTOCOL.entries[model]["model.experts"],
            "parameters": 1_234_567,
            "table_parameters": 10,
            "flops_per_example": 2_000,
        },
        "train_seconds": 60.0,
        "draws": {k: packed(a + EXAMPLES, a) for k, a in aucs.items() if k != "cart@click"},
        "config": {
            "model": model,
            "model.architecture": PROTOCOL.entries[model]["model.architecture"],
            "seed": str(seed),
            "gap": str(gap),
        },
        "code": "abc",
        "versions": {"jax": "1.2"},
        "device": "cpu x 1, 2 cores",
        "date": "2026-01-01",
    }


def notes(truth):
    return {
        "test_bayes_auc": KEYS,
        "true_divergence": {"click": {"cart": truth}, "cart": {"click": truth}},
    }


def found(gap, protocol=PROTOCOL, seeds=(1, 2, 3)):
    """The content where `gap(model, D)` is a model's gap."""
    entries = dials(protocol, None, None)

    def at(e):
        return float(e.at) if e.group == "divergence" else 1.0

    cells = {e.name: [cell(e.tuned_as, s, gap(e.tuned_as, at(e))) for s in seeds] for e in entries}
    tuned = {"settings": {}, "at_edge": []}
    tunings = dict.fromkeys(protocol.entries, tuned)
    made = content("synthetic", "divergence", protocol, entries, cells, tunings, {})
    known = {e.name: notes(0.8 * at(e)) for e in entries}
    made = with_gaps(made, protocol, entries, cells, known)
    return made | {"command": "python -m experiments.paper_tables"}
