"""Models from outside, on the same rows and splits, that ours must stand beside.

`lightgbm`: gradient-boosted trees, one model a task, rounds by early stopping on validation
(needs the package lightgbm: pip install '.[references]'). Ids are features: those of quantile
buckets keep the numbers' order, those of vocabularies are ordered by how frequent they are; a bag's
slots are features in their order, and so are standardised numbers and the numbers of a vector.
`logistic`: logistic regression on one-hot ids, those of a bag counted without weights, and on those
numbers, one model a task, the L2 strength by validation.
Regressions have no AUC, so there is no reference for them.
The test AUCs go to experiments/results/references/<dataset>.json (of your own logs, beside the
prepared set), by the model's name and the data set's options; the paper's tables show those of
their own data.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import pathlib
import shlex
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from dtn_jax.datasets.logs.builder import Logs
from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.errors import UserError, choose
from dtn_jax.input.reader import SplitReader, take
from dtn_jax.interface import Batch
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.spaces import logits_in, space_mask
from dtn_jax.report import screen
from dtn_jax.schema import Schema

from .. import command

REFERENCES = pathlib.Path(__file__).parents[1] / "results" / "references"
EXAMPLE = "python -m experiments.tables.references --dataset=adult --model=lightgbm"
OWN = "references.json"  # of your own logs
STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # tried for `logistic`: sklearn's C, the inverse of L2
ROUNDS, PATIENCE = 1000, 50  # of `lightgbm`

Scores = Callable[[Batch], np.ndarray]  # `[B]`, logits in the space of the task's loss


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--dataset", help=f"one of: {', '.join(catalog.DATASETS)}")
    parser.add_argument("--options", default="", help="the data set's own options, 'rows=100000'")
    parser.add_argument("--model", help=f"one of: {', '.join(MODELS)}")
    parser.add_argument("--data_dir", default="", help="prepared sets; see configs/base.py")
    parser.add_argument("--manual_dir", default="", help="raw files; see configs/base.py")
    known = parser.parse_args(arguments)
    fit = MODELS[choose("model", known.model or "", MODELS)]
    data = catalog.load(known.dataset or "", known.options, known.data_dir, known.manual_dir)
    train, validation = (SplitReader(data, s).everything() for s in ("train", "validation"))
    tasks = [t for t, task in enumerate(data.schema.tasks) if task.kind == "binary"]
    if not tasks:
        raise UserError(f"{data.schema.name} has only regressions, which have no AUC")
    scores = {
        t: fit(
            data.schema, in_space(train, data.schema, t), in_space(validation, data.schema, t), t
        )
        for t in tasks
    }
    test = SplitReader(data, "test").everything()  # read once all is chosen
    logits = np.zeros((len(test.ids), len(data.schema.tasks)))
    for t, score in scores.items():
        logits[:, t] = score(test)
    aucs = {}
    for column in tasks:
        task = data.schema.tasks[column]
        for space in task.spaces:
            rows = mask_of(test, data.schema, column, space)
            found = logits_in(space, task.name, logits, data.schema, rows)
            aucs[f"{task.name}@{space}"] = auc(found, test.labels[rows, column])
    screen.say(f"{known.model} {aucs}")
    path = file_of(data)
    kept = json.loads(path.read_text()) if path.exists() else {}
    given = [f"--dataset={known.dataset}", f"--model={known.model}"]
    given += [f"--options={known.options}"] if known.options else []
    own_logs = path.name == OWN  # their options say but where the schema file is
    name = ", ".join(filter(None, (known.model, "" if own_logs else known.options)))
    package = {"lightgbm": "lightgbm", "logistic": "scikit-learn"}[known.model]
    kept[name] = {
        "test": aucs,
        "command": shlex.join(["python", "-m", "experiments.tables.references", *given]),
        "data": data.fingerprint,
        "version": f"{package} {importlib.metadata.version(package)}",
        "date": datetime.date.today().isoformat(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")


def file_of(data: Prepared) -> pathlib.Path:
    """Where the references of a data set are kept: those of your own logs beside the set."""
    if data.folder.parents[1].name == Logs.name:
        return data.folder.parent / OWN
    return REFERENCES / f"{data.schema.name}.json"


def mask_of(rows: Batch, schema: Schema, task: int, space: str) -> np.ndarray:
    """The rows that have a task's label and are in a space."""
    masks = (rows.labels, rows.label_mask, rows.row_mask, schema)
    return space_mask(schema.task_names[task], *masks, space)


def in_space(rows: Batch, schema: Schema, task: int) -> Batch:
    """The rows of a task's loss."""
    mask = mask_of(rows, schema, task, schema.tasks[task].space)
    return take(rows, np.flatnonzero(mask))


def numbers(batch: Batch, schema: Schema) -> np.ndarray:
    """The standardised numbers and vectors, float32 `[B, N]`; 0, the mean, where one is missing."""
    slots = [field.name for field in schema.slot_fields()]
    own = [slots.index(field.name) for field in schema.number_fields()]
    return np.where(batch.ids[:, own] > 0, batch.numeric, 0).astype(np.float32)


def lightgbm(schema: Schema, train: Batch, validation: Batch, task: int) -> Scores:
    try:
        import lightgbm as lgb
    except ImportError:
        raise UserError("lightgbm is not installed: pip install '.[references]'") from None

    def features(batch: Batch) -> np.ndarray:
        return np.concatenate([batch.ids.astype(np.float32), numbers(batch, schema)], axis=1)

    ours = lgb.Dataset(features(train), train.labels[:, task])
    held = lgb.Dataset(features(validation), validation.labels[:, task], reference=ours)
    settings = {"objective": "binary", "metric": "auc", "learning_rate": 0.05, "num_leaves": 63}
    stop = lgb.early_stopping(PATIENCE, verbose=False)
    trees = lgb.train(
        {**settings, "verbose": -1, "seed": 0}, ours, ROUNDS, [held], callbacks=[stop]
    )
    return lambda batch: trees.predict(features(batch), raw_score=True)


def logistic(schema: Schema, train: Batch, validation: Batch, task: int) -> Scores:
    rows = [f.rows for f in schema.slot_fields()]
    firsts = np.cumsum([0, *rows[:-1]])

    def features(batch: Batch) -> scipy.sparse.csr_matrix:
        real = batch.ids >= 0  # a bag may have fewer values than slots
        columns = (batch.ids + firsts)[real]
        starts = np.cumsum([0, *real.sum(axis=1)])
        ones = np.ones(len(columns), np.float32)
        one_hot = scipy.sparse.csr_matrix((ones, columns, starts), shape=(len(real), sum(rows)))
        return scipy.sparse.hstack([one_hot, numbers(batch, schema)], format="csr")

    def fitted(strength: float) -> LogisticRegression:
        model = LogisticRegression(C=strength, max_iter=200)
        return model.fit(features(train), train.labels[:, task])

    def score(model: LogisticRegression, batch: Batch) -> np.ndarray:
        return model.decision_function(features(batch)).astype(np.float64)

    def by_validation(model: LogisticRegression) -> float:
        return auc(score(model, validation), validation.labels[:, task])

    best = max((fitted(c) for c in STRENGTHS), key=by_validation)
    return lambda batch: score(best, batch)


MODELS = {"lightgbm": lightgbm, "logistic": logistic}

if __name__ == "__main__":
    command.run(main)
