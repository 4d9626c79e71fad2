"""Models from outside, on the same rows and splits, that ours must stand beside.

`lightgbm`: gradient-boosted trees, one model a task, rounds by early stopping on validation
(needs the package lightgbm: pip install '.[references]'). Every slot's id is a feature: those of
quantile buckets as numbers, whose order they keep, those of vocabularies as numbers (ordered by how
frequent they are) or as categories, whichever is better on validation; a bag's and a history's
slots in their order; and so are standardised numbers and the numbers of a vector. Leaves, learning
rate and the least rows of a leaf are chosen on validation.
`logistic`: logistic regression on one-hot ids, those of a bag counted without weights, and on those
numbers, one model a task, the L2 strength by validation.
Of your own logs, rows count by their weights, as in our runs: with sampled negatives the
probabilities would be too high without them.
Regressions have no AUC, so there is no reference for them.
Test metrics go to experiments/results/references/<dataset>.json (of your own logs, beside the
prepared set), by the model's name and the data set's options; the paper's tables show those of
their own data, and those of the same rows with their fields encoded otherwise.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import pathlib
import shlex
from collections.abc import Sequence

import numpy as np

from dtn_jax import shipped
from dtn_jax.cli import command
from dtn_jax.data.epochs.reader import SplitReader, take
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.logs import Logs
from dtn_jax.errors import UserError, choose
from dtn_jax.evaluate import evaluate
from dtn_jax.interface import Batch
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.papertables import kept
from dtn_jax.papertables.content import OPTIMAL, judging
from dtn_jax.papertables.reference_models import MODELS
from dtn_jax.report import screen
from dtn_jax.schema import Schema

REFERENCES = shipped.folder("references")
EXAMPLE = "python -m dtn_jax.papertables.references --dataset=adult --model=lightgbm"
OWN = "references.json"  # of your own logs
BINS = 15  # of the calibration error, as in our runs


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--dataset", help=f"one of: {', '.join(catalog.DATASETS)}")
    parser.add_argument("--options", default="", help="the data set's own options, 'rows=100000'")
    parser.add_argument("--model", help=f"one of: {', '.join(MODELS)}")
    parser.add_argument("--data_dir", default="", help="prepared sets; see configs/base.py")
    parser.add_argument("--manual_dir", default="", help="raw files; see configs/base.py")
    known = parser.parse_args(arguments)
    model = MODELS[choose("model", known.model or "", MODELS)]
    data = catalog.load(known.dataset or "", known.options, known.data_dir, known.manual_dir)
    schema = data.schema
    train, validation = (SplitReader(data, s).everything() for s in ("train", "validation"))
    own_logs = file_of(data).name == OWN
    if own_logs:
        train = dataclasses.replace(train, sample_weight=train.in_loss())
    else:  # as the paper's runs
        train, validation = (
            dataclasses.replace(rows, sample_weight=np.ones_like(rows.sample_weight))
            for rows in (train, validation)
        )
    tasks = [t for t, task in enumerate(schema.tasks) if task.kind == "binary"]
    if not tasks:
        raise UserError(f"{schema.name} has only regressions, which have no AUC")
    fitted = {
        t: model.fit(schema, in_space(train, schema, t), in_space(validation, schema, t), t)
        for t in tasks
    }
    test = SplitReader(data, "test").everything()  # read once all is chosen
    logits = np.zeros((len(test.ids), len(schema.tasks)))
    for t, (score, _) in fitted.items():
        logits[:, t] = score(test)
    measured = test_metrics(data, test, logits, tasks)
    chosen = {schema.task_names[t]: own for t, (_, own) in fitted.items()}
    screen.say(f"{known.model} {measured} {chosen}")
    given = [f"--dataset={known.dataset}", f"--model={known.model}"]
    given += [f"--options={known.options}"] if known.options else []
    path = file_of(data)
    options = "" if own_logs else known.options  # theirs say but where the schema file is
    name = ", ".join(filter(None, (known.model, options)))
    found = {
        "test": measured,
        "chosen": chosen,
        "note": model.note,
        "command": shlex.join(["python", "-m", "dtn_jax.papertables.references", *given]),
        "data": data.fingerprint,
        "rows": rows_of(data),
        "version": f"{model.package} {importlib.metadata.version(model.package)}",
        "date": datetime.date.today().isoformat(),
    }
    before = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before | {name: found}, indent=1) + "\n")


def test_metrics(
    data: Prepared, test: Batch, logits: np.ndarray, tasks: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """The metrics that say which model is better, of these tasks in all their spaces; weighted as
    those of our runs."""
    scores = Scores(logits, test.labels, test.label_mask, test.sample_weight, data.groups("test"))
    names = {data.schema.task_names[t] for t in tasks}
    weighted = file_of(data).name == OWN and bool(data.schema.weight)
    return {
        key: {name: value for name, value in found.items() if name in judging()}
        for key, found in evaluate(scores, data.schema, BINS, weighted).items()
        if key.partition("@")[0] in names
    }


def of_data(data: Prepared) -> dict[str, dict]:
    """What stands beside runs on a set: references on it, then those on the same rows encoded
    otherwise, and the data's own scores where known."""
    known = kept.read_json(file_of(data)) or {}
    found = {name: r for name, r in known.items() if r["data"] == data.fingerprint}
    others = {name: r for name, r in known.items() if name not in found and "rows" in r}
    rows = rows_of(data) if others else ""
    found |= {name: r for name, r in others.items() if r["rows"] == rows}
    best = data.notes.get("test_bayes_auc")
    return found | ({OPTIMAL: {"test": best, "version": "known"}} if best else {})


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


def in_space(rows: Batch, schema: Schema, task: int) -> Batch:
    """The rows of a task's loss."""
    masks = (rows.labels, rows.label_mask, rows.row_mask, schema)
    return take(rows, np.flatnonzero(space_mask(schema.task_names[task], *masks)))


if __name__ == "__main__":
    command.run(main)
