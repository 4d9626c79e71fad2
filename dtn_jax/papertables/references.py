"""The models from outside that stand beside ours; `experiments.references` trains them.

Their test metrics are in experiments/results/references/DATASET.json (of your own logs, beside the
prepared set), by the model's name and the data set's options. A table shows those of its own data,
and those of the same rows with their fields encoded otherwise.
"""

from __future__ import annotations

import hashlib
import json
import pathlib

import numpy as np

from dtn_jax import shipped
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets.logs import Logs
from dtn_jax.papertables.protocol import OPTIMAL

REFERENCES = shipped.folder("references")
OWN = "references.json"  # of your own logs


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
