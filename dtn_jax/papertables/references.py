"""The models from outside that stand beside ours; `experiments.references` trains them.

Their test metrics are in experiments/results/references/DATASET.json (of your own logs, beside the
prepared set), by the model's name and the data set's options. A table shows those of its own data,
and those of the same rows with their fields encoded otherwise.

A protocol's claims may name LightGBM. Its searches lie in lightgbm-HASH.npz beside its runs:
{task@space: `[S, R]`, the AUC under draws of the test rows (significance.resampled_aucs); "test
task@space": `[S]`, the AUC on test as it is}, each the mean of a search's runs.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from dtn_jax import places
from dtn_jax.comparison.differences import Sampled
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets.logs import Logs
from dtn_jax.papertables.protocol import LIGHTGBM, OPTIMAL, Protocol, digest

REFERENCES = places.folder("references")
OWN = "references.json"  # of your own logs
TEST = "test"  # before a task@space, in a file of searches


def of_data(data: Prepared) -> dict[str, dict]:
    """What stands beside runs on a set: references on it, then those on the same rows encoded
    otherwise, and the data's own scores where known."""
    path = file_of(data)
    known = json.loads(path.read_text()) if path.exists() else {}
    shown = {name: r for name, r in known.items() if r["data"] == data.fingerprint}
    others = {name: r for name, r in known.items() if name not in shown and "rows" in r}
    rows = rows_of(data) if others else ""
    shown |= {name: r for name, r in others.items() if r["rows"] == rows}
    best = data.notes.get("test_bayes_auc")
    return shown | ({OPTIMAL: {"test": best, "version": "known"}} if best else {})


def searches_file(protocol: Protocol, data: Prepared, folder: pathlib.Path) -> pathlib.Path:
    """Where LightGBM's searches for a protocol's claims lie: by what is searched, on which data."""
    how = (max(protocol.searches.values(), default=1), protocol.trials, protocol.seeds)
    return folder / f"{LIGHTGBM}-{digest(data.fingerprint, how)}.npz"


def searched(
    protocol: Protocol, data: Prepared, folder: pathlib.Path, keys: Sequence[str]
) -> Sampled | None:
    """LightGBM's mean AUC over task@space beside a protocol's runs; None: it was not trained."""
    path = searches_file(protocol, data, folder)
    if not path.exists():
        return None
    with np.load(path) as file:
        values = np.mean([file[f"{TEST} {key}"] for key in keys], axis=0)
        return Sampled(values, np.mean([file[key] for key in keys], axis=0))


def rows_of(data: Prepared) -> str:
    """SHA-256 of how many rows each split has and of test's labels: the same for sets that only
    encode their fields otherwise, such as numbers in buckets and numbers kept as such."""
    test = SplitReader(data, "test").everything()
    known = np.where(test.label_mask, test.labels, -1).astype("<f4")
    facts = json.dumps([data.schema.name, data.schema.task_names, sorted(data.rows.items())])
    return hashlib.sha256(facts.encode() + known.tobytes()).hexdigest()


def file_of(data: Prepared) -> pathlib.Path:
    """Where the references of a data set are kept: those of your own logs beside the set."""
    if data.folder.parents[1].name == Logs.name:
        return data.folder.parent / OWN
    return REFERENCES / f"{data.schema.name}.json"
