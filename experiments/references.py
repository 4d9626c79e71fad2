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
With --protocol, `lightgbm` is what that protocol's claims name: searched as often as its rows are,
among about as many settings, drawn at random, and trained with as many seeds for each search.
Test metrics go to experiments/results/references/<dataset>.json (of your own logs, beside the
prepared set), by the model's name and the data set's options; the paper's tables show those of
their own data, and those of the same rows with their fields encoded otherwise.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import itertools
import json
import pathlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from dtn_jax.cli import command
from dtn_jax.data.epochs.reader import SplitReader, take
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.catalog import read_data
from dtn_jax.errors import UserError
from dtn_jax.files import replacing
from dtn_jax.interface import Batch
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.significance import resampled_aucs
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.papertables.protocol import Protocol, configured, load
from dtn_jax.papertables.references import OWN, TEST, file_of, rows_of, searches_file
from dtn_jax.places import protocol_groups, protocols
from dtn_jax.report import screen
from dtn_jax.run.evaluate import evaluate
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

EXAMPLE = "python -m experiments.references --dataset=adult --model=lightgbm"
BINS = 15  # of the calibration error, as in our runs
STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # tried for `logistic`: sklearn's C, the inverse of L2
SETTINGS_A_TRIAL = 4  # of LightGBM, for each run that our searches may cost: so many do they try
ROUNDS, PATIENCE = 2000, 50  # of `lightgbm`: at most, and without a better AUC
IDS = ("numbers", "categories")  # as which `lightgbm` reads those of vocabularies
TREES = (  # tried for `lightgbm`: the values of NAMES
    (31, 0.05, 100, 0.3),
    (31, 0.05, 20, 1.0),
    (15, 0.05, 100, 0.3),
    (63, 0.05, 100, 0.3),
    (15, 0.1, 20, 0.6),
    (127, 0.03, 100, 0.6),
)
NAMES = ("num_leaves", "learning_rate", "min_data_in_leaf", "feature_fraction")
UNORDERED = ("categorical", "bag", "sequence")  # kinds of fields whose ids are names

Score = Callable[[Batch], np.ndarray]  # `[B]`, logits in the space of the task's loss


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    if known.protocol:
        places = command.shared_options(known)
        for name in protocol_groups().get(known.protocol, [known.protocol]):
            protocol = load(protocols()[name])
            of_protocol(protocol, pathlib.Path(known.workdir) / name / "runs", places)
        return
    model = MODELS[known.model]
    data = catalog.load(known.dataset, known.options, known.data_dir, known.manual_dir)
    schema, own_logs = data.schema, file_of(data).name == OWN
    train, validation = rows_for_trees(data)
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
        "command": shlex.join(["python", "-m", "experiments.references", *given]),
        "data": data.fingerprint,
        "rows": rows_of(data),
        "version": f"{model.package} {importlib.metadata.version(model.package)}",
        "date": datetime.date.today().isoformat(),
    }
    before = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before | {name: found}, indent=1) + "\n")


def rows_for_trees(data: Prepared) -> tuple[Batch, Batch]:
    """Train and validation; of public sets every row counts once, as in the paper's runs."""
    train, validation = (SplitReader(data, s).everything() for s in ("train", "validation"))
    if file_of(data).name == OWN:
        return dataclasses.replace(train, sample_weight=train.in_loss()), validation
    ones = lambda rows: np.ones_like(rows.sample_weight)  # noqa: E731
    one, two = (dataclasses.replace(r, sample_weight=ones(r)) for r in (train, validation))
    return one, two


def of_protocol(protocol: Protocol, folder: pathlib.Path, places: Mapping[str, str]) -> None:
    """Leaves LightGBM's runs beside a protocol's, where they are not there yet."""
    data = read_data(configured(protocol, places))
    path = searches_file(protocol, data, folder)
    if path.exists():
        return
    schema, (train, validation) = data.schema, rows_for_trees(data)
    searches, seeds = max(protocol.searches.values(), default=1), protocol.seeds
    tasks = [t for t, task in enumerate(schema.tasks) if task.kind == "binary"]
    trees = {
        t: Trees(schema, in_space(train, schema, t), in_space(validation, schema, t), t)
        for t in tasks
    }
    best = {}  # {(search, task): its settings and how its ids are read}
    for search, t in itertools.product(range(searches), tasks):
        rng = np.random.default_rng([search, t])
        draws = [drawn(rng) for _ in range(protocol.trials * SETTINGS_A_TRIAL - 1)]
        tried = [trees[t].fitted(*one) for one in [(TREES[0], IDS[search % 2]), *draws]]
        best[search, t] = max(tried, key=lambda one: one[0])[2]
        screen.say(f"{folder.parent.name}, search {search + 1}, {schema.task_names[t]}")
    test, runs = SplitReader(data, "test").everything(), []
    for seed in range(1, searches * seeds + 1):
        logits = np.zeros((len(test.ids), len(schema.tasks)))
        for t in tasks:
            chosen = best[(seed - 1) % searches, t]
            settings = tuple(chosen[name] for name in NAMES)
            _, model, _ = trees[t].fitted(settings, chosen["ids"], seed)
            logits[:, t] = model.predict(trees[t].features(test), raw_score=True)
        ones = np.ones_like(test.sample_weight)
        scores = Scores(logits, test.labels, test.label_mask, ones, data.groups("test"))
        metrics = evaluate(scores, schema, BINS, False)
        aucs = {key: of.get("auc") for key, of in metrics.items()}
        runs.append((resampled_aucs(scores, schema), aucs))
    arrays = {}
    for key in runs[0][0]:
        for name, of in ((key, 0), (f"{TEST} {key}", 1)):
            values = np.stack([run[of][key] for run in runs])
            arrays[name] = values.reshape(seeds, searches, *values.shape[1:]).mean(axis=0)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def drawn(rng: np.random.Generator) -> tuple[tuple, str]:
    """Settings of `lightgbm`, the values of NAMES, and as what it reads ids."""
    leaves, rate = int(2 ** rng.uniform(3, 7.5)), 10 ** rng.uniform(-2, -0.7)
    rows, share = int(10 ** rng.uniform(0.7, 2.7)), rng.uniform(0.2, 1.0)
    return (leaves, round(rate, 4), rows, round(share, 2)), str(rng.choice(IDS))


def test_metrics(
    data: Prepared, test: Batch, logits: np.ndarray, tasks: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """The metrics that say which model is better, of these tasks in all their spaces; weighted as
    those of our runs."""
    scores = Scores(logits, test.labels, test.label_mask, test.sample_weight, data.groups("test"))
    names = {data.schema.task_names[t] for t in tasks}
    weighted = file_of(data).name == OWN and bool(data.schema.weight)
    return {
        key: {name: value for name, value in found.items() if METRICS[name].judges}
        for key, found in evaluate(scores, data.schema, BINS, weighted).items()
        if key.partition("@")[0] in names
    }


def in_space(rows: Batch, schema: Schema, task: int) -> Batch:
    """The rows of a task's loss."""
    masks = (rows.labels, rows.label_mask, rows.row_mask, schema)
    return take(rows, np.flatnonzero(space_mask(schema.task_names[task], *masks)))


@dataclasses.dataclass(frozen=True)
class Outside:
    """A model from outside.

    Attributes:
      fit: (schema, train, validation, task's number) -> its scores and what was chosen.
      package: whose version is recorded.
      note: what a reader of the tables should know of how it was trained.
    """

    fit: Callable[[Schema, Batch, Batch, int], tuple[Score, dict]]
    package: str
    note: str


def numbers(batch: Batch, schema: Schema, missing: float = 0.0) -> Float[np.ndarray, "B N"]:
    """The standardised numbers and vectors; a missing one is 0, the mean, or what is given."""
    slots = [field.name for field in schema.slot_fields()]
    places = [slots.index(field.name) for field in schema.number_fields()]
    return np.where(batch.ids[:, places] > 0, batch.numeric, missing).astype(np.float32)


def lightgbm(schema: Schema, train: Batch, validation: Batch, task: int) -> tuple[Score, dict]:
    """Gradient-boosted trees: Ke et al., LightGBM, 2017.

    First ids are tried as numbers and as categories, with the first of TREES, then the others of
    TREES with the better of the two.
    """
    trees = Trees(schema, train, validation, task)
    tried = [trees.fitted(TREES[0], ids) for ids in (IDS if trees.names else IDS[:1])]
    better = max(tried, key=lambda one: one[0])[2]["ids"]
    tried += itertools.starmap(trees.fitted, ((settings, better) for settings in TREES[1:]))
    _, best, chosen = max(tried, key=lambda one: one[0])
    return lambda batch: best.predict(trees.features(batch), raw_score=True), chosen


class Trees:
    """Boosted trees for a task, rounds by early stopping on validation."""

    def __init__(self, schema: Schema, train: Batch, validation: Batch, task: int):
        self.schema = schema
        self.names = [at for at, f in enumerate(schema.slot_fields()) if f.kind in UNORDERED]
        self.rows, self.held = train, validation
        self.inputs, self.held_inputs = self.features(train), self.features(validation)
        self.labels, self.truth = (
            np.ascontiguousarray(rows.labels[:, task]) for rows in (train, validation)
        )

    def features(self, batch: Batch) -> np.ndarray:
        ids = batch.ids.astype(np.float32)
        return np.concatenate([ids, numbers(batch, self.schema, missing=np.nan)], axis=1)

    def fitted(self, settings: tuple, ids: str, seed: int = 0) -> tuple[float, Any, dict]:
        """The AUC on validation, the model, and what it was made with.

        Raises:
          UserError: LightGBM is not installed.
        """
        try:
            import lightgbm as lgb
        except ImportError:
            raise UserError("lightgbm is not installed: pip install '.[references]'") from None
        chosen = dict(zip(NAMES, settings))
        how = {"objective": "binary", "metric": "auc", "seed": seed, "deterministic": True}
        how |= {"force_row_wise": True, "num_threads": 1, "verbose": -1}
        categories = self.names if ids == "categories" else []
        rows = {"weight": self.rows.sample_weight, "categorical_feature": categories}
        dataset = lgb.Dataset(self.inputs, self.labels, **rows)
        beside = lgb.Dataset(self.held_inputs, self.truth, dataset, self.held.sample_weight)
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        model = lgb.train(how | chosen, dataset, ROUNDS, [beside], callbacks=[stop])
        scores = model.predict(self.held_inputs, raw_score=True)
        reached = auc(scores, self.truth, self.held.sample_weight) or 0.0
        return reached, model, chosen | {"ids": ids, "rounds": model.best_iteration}


def logistic(schema: Schema, train: Batch, validation: Batch, task: int) -> tuple[Score, dict]:
    """Logistic regression on one-hot ids, those of a bag counted without weights, and numbers."""
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
        model = LogisticRegression(C=strength, max_iter=2000)
        return model.fit(features(train), train.labels[:, task], train.sample_weight)

    def score(model: LogisticRegression, batch: Batch) -> np.ndarray:
        return model.decision_function(features(batch)).astype(np.float64)

    def by_validation(model: LogisticRegression) -> float:
        scored = score(model, validation), validation.labels[:, task], validation.sample_weight
        return auc(*scored) or 0.0

    best = max((fitted(c) for c in STRENGTHS), key=by_validation)
    return lambda batch: score(best, batch), {"C": best.C}


MODELS: Mapping[str, Outside] = {
    "lightgbm": Outside(
        lightgbm,
        "lightgbm",
        f"a model a task, one run; of {len(TREES)} settings (leaves, rate, least rows a leaf, "
        "share of fields a tree) and of ids as numbers or as categories, those with the best "
        "validation AUC; rounds by early stopping there",
    ),
    "logistic": Outside(
        logistic,
        "scikit-learn",
        f"one-hot ids, a model a task, one run; the best of {len(STRENGTHS)} strengths of L2 by "
        "validation AUC",
    ),
}

OPTIONS = {
    "dataset=NAME": f"one of: {', '.join(catalog.DATASETS)}",
    "options=KEY=VALUE,...": "the data set's own options, 'rows=100000'",
    "model=NAME": f"one of: {', '.join(MODELS)}",
    "protocol=NAME": "in place of a data set: LightGBM for the claims of a protocol, or of a group",
    "workdir=DIR": "of the protocol's tables",
}
MODES = {"dataset": ("options", "model"), "protocol": ("workdir",)}
SHARED = ("data_dir", "manual_dir")
DEFAULTS = {"workdir": "runs/paper", "model": "lightgbm"}
CHOICES = {
    "dataset": catalog.DATASETS,
    "model": MODELS,
    "protocol": [*protocols(), *protocol_groups()],
}


if __name__ == "__main__":
    command.run(main)
