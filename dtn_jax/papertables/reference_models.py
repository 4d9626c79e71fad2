"""The models from outside that stand beside ours; references.py trains them and keeps their record.

Each is fitted to one task at a time, by the weights of rows, and what it may choose is chosen
by AUC on validation, as the trials of our rows are.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from dtn_jax.errors import UserError
from dtn_jax.interface import Batch
from dtn_jax.metrics.auc import auc
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # tried for `logistic`: sklearn's C, the inverse of L2
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

Scores = Callable[[Batch], np.ndarray]  # `[B]`, logits in the space of the task's loss


@dataclasses.dataclass(frozen=True)
class Outside:
    """A model from outside.

    Attributes:
      fit: (schema, train, validation, task's number) -> its scores and what was chosen.
      package: whose version is recorded.
      note: what a reader of the tables should know of how it was trained.
    """

    fit: Callable[[Schema, Batch, Batch, int], tuple[Scores, dict]]
    package: str
    note: str


def numbers(batch: Batch, schema: Schema, missing: float = 0.0) -> Float[np.ndarray, "B N"]:
    """The standardised numbers and vectors; a missing one is 0, the mean, or what is given."""
    slots = [field.name for field in schema.slot_fields()]
    own = [slots.index(field.name) for field in schema.number_fields()]
    return np.where(batch.ids[:, own] > 0, batch.numeric, missing).astype(np.float32)


def lightgbm(schema: Schema, train: Batch, validation: Batch, task: int) -> tuple[Scores, dict]:
    """Gradient-boosted trees: Ke et al., LightGBM, 2017.

    First ids are tried as numbers and as categories, with the first of TREES, then the others of
    TREES with the better of the two.
    """
    try:
        import lightgbm as lgb
    except ImportError:
        raise UserError("lightgbm is not installed: pip install '.[references]'") from None

    def features(batch: Batch) -> np.ndarray:
        ids = batch.ids.astype(np.float32)
        return np.concatenate([ids, numbers(batch, schema, missing=np.nan)], axis=1)

    names = [at for at, f in enumerate(schema.slot_fields()) if f.kind in UNORDERED]
    inputs, held = features(train), features(validation)
    labels, truth = (np.ascontiguousarray(b.labels[:, task]) for b in (train, validation))

    def fitted(trees: tuple, ids: str) -> tuple[float, lgb.Booster, dict]:
        chosen = dict(zip(NAMES, trees))
        settings = {"objective": "binary", "metric": "auc", "seed": 0, "deterministic": True}
        settings |= {"force_row_wise": True, "num_threads": 1, "verbose": -1}
        categories = names if ids == "categories" else []
        weight = train.sample_weight
        made = lgb.Dataset(inputs, labels, weight=weight, categorical_feature=categories)
        beside = lgb.Dataset(held, truth, made, validation.sample_weight)
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        model = lgb.train(settings | chosen, made, ROUNDS, [beside], callbacks=[stop])
        found = auc(model.predict(held, raw_score=True), truth, validation.sample_weight) or 0.0
        return found, model, chosen | {"ids": ids, "rounds": model.best_iteration}

    tried = [fitted(TREES[0], ids) for ids in (IDS if names else IDS[:1])]
    better = max(tried, key=lambda one: one[0])[2]["ids"]
    tried += itertools.starmap(fitted, ((trees, better) for trees in TREES[1:]))
    _, best, chosen = max(tried, key=lambda one: one[0])
    return lambda batch: best.predict(features(batch), raw_score=True), chosen


def logistic(schema: Schema, train: Batch, validation: Batch, task: int) -> tuple[Scores, dict]:
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
        found = score(model, validation), validation.labels[:, task], validation.sample_weight
        return auc(*found) or 0.0

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
