"""How much each task depends on each field, two ways, with what is uncertain about it.

- `permutation`: the drop of AUC when the field's values are permuted among the rows (Breiman 2001;
  Fisher, Rudin and Dominici 2019), all slots and the number of a field moving together; the mean
  over the repeats.
- `unknown`: the drop of AUC when every value of the field becomes the unknown id.

In a space that is not that of its loss a task is ranked by the quotient of two of the model's
probabilities (spaces.py). A regression has R² in AUC's place. Each row's influence is kept as far
as the covariance of all importances; it makes the intervals (see quality.py). The rows of a group,
such as a user's, are not independent: their influences are summed first. Intervals say how far
another sample of as many rows, permuted anew, would differ; not how far another training would.

A permuted row acts twice: where it stands, and by the value that it gives to another row. With
u_r[i] the influence of row i on the drop of repeat r, and o_r[i] the row whose value it has then,

    psi[i] = mean over r of (u_r[i] + u_r[j], o_r[j] = i)
    variance = sum over i of psi[i]² - sum over i and r of u_r[i]² / R²

where the last term takes off what is chance in a pair of rows, which psi counts at both of them.
The second part of psi matters for a value that few rows have: without it the interval of adult's
capital-gain was a quarter too narrow. It needs no second repeat. Of few groups the last term may
take off more than they seem to differ: that chance, counted once, is the least that the variance
can be. A value in fewer than some ten rows still has an interval that is too narrow: in tests, 90 %
held the true importance.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dtn_jax.analysis.quality import Key
from dtn_jax.shapes import Array, Float, Int

METHODS = ("permutation", "unknown")
Z = 1.96  # standard errors of a 95 % interval
Scores = Float[Array | np.ndarray, "B C"]
Changed = tuple[Int[np.ndarray, " B"] | None, Scores]  # with whose value each row has, if any's


class Sample(NamedTuple):
    """What importances are measured on.

    Attributes:
      plain: `[B, C]`, the scores of the rows as they are.
      keys: name the columns of the scores.
      fields: in whose order results are.
      group: the rows' groups, where there are any.
    """

    plain: Scores
    keys: Sequence[Key]
    fields: Sequence[str]
    group: Int[np.ndarray, " B"] | None = None


@dataclasses.dataclass(frozen=True)
class Importance:
    """Importances of F fields for K keys.

    Attributes:
      fields, keys: their names.
      values: `[R, F, K]`, one for each repeat.
      covariance: `[F K, F K]`, of the means over repeats, fields outermost.
    """

    fields: tuple[str, ...]
    keys: tuple[str, ...]
    values: Float[np.ndarray, "R F K"]
    covariance: Float[np.ndarray, "FK FK"]

    @property
    def mean(self) -> Float[np.ndarray, "F K"]:
        """`values`, averaged over the R repeats; rounded, so that equal ones have one rank."""
        return self.values.mean(axis=0).round(15)

    @property
    def error(self) -> Float[np.ndarray, "F K"]:
        """Standard errors; the 95 % interval of a mean is +- Z of them."""
        return np.sqrt(np.diag(self.covariance)).reshape(len(self.fields), len(self.keys))

    def rows(self, method: str) -> list[dict]:
        """A row a key and field: its importance by `method`, between `low` and `high`."""
        mean, half = self.mean, Z * self.error
        return [
            {"method": method, "key": key, "field": field, "importance": value}
            | {"low": value - away, "high": value + away}
            for key, values, aways in zip(self.keys, mean.T, half.T)
            for field, value, away in zip(self.fields, values, aways)
        ]


def permutation(
    scores: Callable[[str, Int[np.ndarray, " B"]], Scores],
    sample: Sample,
    repeats: int,
    seed: int,
    done: Callable[[], object] = lambda: None,
) -> Importance:
    """Permutation importance of whatever gives scores.

    Args:
      scores: `(field, order) -> [B, C]`, where row i has the field's values of row order[i].
      sample: see there.
      repeats: R; the permutation of repeat r of a field depends on the seed, the field's place
        and r alone.
      seed: of the permutations.
      done: called after each field and repeat.
    """

    def changed() -> Iterator[Changed]:
        for f, field in enumerate(sample.fields):
            for r in range(repeats):
                order = np.random.default_rng([seed, f, r]).permutation(len(sample.plain))
                yield order, scores(field, order)

    return _drops(changed(), sample, repeats, done)


def unknown(
    scores: Callable[[str], Scores], sample: Sample, done: Callable[[], object] = lambda: None
) -> Importance:
    """`scores(field) -> [B, C]` where every value of the field is unknown; else as above."""
    return _drops(((None, scores(field)) for field in sample.fields), sample, 1, done)


def _drops(
    changed: Iterator[Changed], sample: Sample, repeats: int, done: Callable[[], object]
) -> Importance:
    """The drops of the metric under changed scores, field by field and repeat by repeat."""
    keys, shape = sample.keys, (len(sample.fields), len(sample.keys))
    measured = [key.measure(np.asarray(sample.plain)) for key in keys]
    values = np.empty((repeats, *shape))
    psi = np.zeros((len(sample.plain), *shape), np.float32)
    chance = np.zeros((*shape, len(keys)))
    # The next ones are asked for before these are read: the device is at work meanwhile.
    ahead = itertools.pairwise(itertools.chain(changed, [None]))
    for i, ((order, scores), _) in enumerate(ahead):
        field, repeat = divmod(i, repeats)
        moved = np.zeros((len(psi), len(keys)))
        for k, key in enumerate(keys):
            value, influence = key.measure(np.asarray(scores))
            values[repeat, field, k] = measured[k][0] - value
            moved[key.rows, k] = (measured[k][1] - influence) / repeats
        psi[:, field] += moved
        if order is not None:  # the row that gives the value
            psi[order, field] += moved
            chance[field] += moved.T @ moved
        done()
    covariance = _covariance(psi, sample.group).reshape(2 * shape)
    place = np.arange(len(sample.fields))
    covariance[place, :, place, :] -= chance
    covariance = covariance.reshape(2 * (values[0].size,))
    least = np.diagonal(chance, axis1=1, axis2=2).ravel()
    np.fill_diagonal(covariance, np.maximum(np.diag(covariance), least))
    names = tuple(key.name for key in keys)
    return Importance(tuple(sample.fields), names, values, covariance)


def _covariance(
    psi: Float[np.ndarray, "B F K"], group: Int[np.ndarray, " B"] | None
) -> Float[np.ndarray, "FK FK"]:
    """Sums of products of the rows' (or groups') influences, in pieces, each in float64."""
    flat = psi.reshape(len(psi), -1)
    if group is not None:
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order], prepend=group[order][0] - 1))
        flat = np.add.reduceat(flat[order], starts, axis=0)
    pieces = (flat[i : i + 4096].astype(np.float64) for i in range(0, len(flat), 4096))
    return sum(piece.T @ piece for piece in pieces)
