"""The known answer on synthetic data: importance as the Bayes-optimal score has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from dtn_jax.analysis.importance import Importance, Sample, permutation
from dtn_jax.analysis.quality import Key
from dtn_jax.analysis.rank import spearman
from dtn_jax.data.sets.synthetic.funnel import FIELDS, FunnelSpec
from dtn_jax.data.sets.synthetic.known_answer import bayes_scores
from dtn_jax.shapes import Int

LEAST = 3  # fields, for a rank correlation to mean anything


def bayes_importance(
    spec: FunnelSpec,
    ids: Int[np.ndarray, "B F"],
    keys: Sequence[Key],
    repeats: int,
    seed: int,
    done: Callable[[], object] = lambda: None,
) -> Importance:
    """Permutation importance of P(task | space, x), in the order of `funnel.FIELDS`.

    Args:
      spec: of the generator, which knows the probabilities of any row.
      ids: the generator's ids of the sample's rows.
      keys: of the sample; each is measured by its own score on the labels that were drawn.
      repeats, seed, done: as in `importance.permutation`.
    """
    keys = [dataclasses.replace(key, column=k, score=None) for k, key in enumerate(keys)]

    def scores(ids: np.ndarray) -> np.ndarray:
        found = bayes_scores(spec, ids)
        return np.stack([found[key.name] for key in keys], axis=1)

    def changed(field: str, order: np.ndarray) -> np.ndarray:
        other = ids.copy()
        other[:, FIELDS.index(field)] = ids[order, FIELDS.index(field)]
        return scores(other)

    return permutation(changed, Sample(scores(ids), keys, FIELDS), repeats, seed, done)


def agreement(found: Importance, truth: Importance) -> dict[str, dict[str, float | int | None]]:
    """{key: rank correlation of the two over the `fields` that are above the truth's noise}.

    None where fewer than LEAST fields are.
    """
    place = [found.fields.index(field) for field in truth.fields]
    result = {}
    for k, key in enumerate(truth.keys):
        over = truth.above_noise[:, k]
        model = found.mean[place, found.keys.index(key)]
        value = float(spearman(model[over], truth.mean[over, k])) if over.sum() >= LEAST else None
        result[key] = {"rank_correlation": value, "fields": int(over.sum())}
    return result
