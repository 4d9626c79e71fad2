"""A term beside a task's loss that ranks the rows of a group: `loss.pairwise`.

A pointwise loss and a loss of pairs together, as in "Combined Regression and Ranking" (Sculley,
KDD 2010) and "Joint Optimization of Ranking and Calibration with Contextualized Hybrid Model"
(Sheng et al., KDD 2023). A pair costs what it does in RankNet ("Learning to Rank using Gradient
Descent", Burges et al., ICML 2005, equation 3 with a target probability of 1) and in BPR (Rendle
et al., UAI 2009):

    P_t = Σ_i ω_i Σ_j ω_j softplus(z_j - z_i) / Σ_j ω_j      j: of i's group, with y_j < y_i

and the task's loss is its pointwise loss + weight * P_t. ω_i is what row i counts in the task's
loss (`row_weights`: sample weights; 0 outside of the task's space, for a missing label, for
padding; Σ_i ω_i = 1), so P_t is a mean over the same rows as that loss: of a row's mean over the
rows of its group that are to be below it, and of 0 where there are none. A group counts by its
positives, not by its pairs. Both means are of the whole batch, on all devices.

z is what the tower gives, without the log w of `loss.positive_weights`, which cancels in a pair;
nor do positives weigh w here. Shifts of a whole group cost nothing, so the term says nothing of
the level of scores, but it does stretch their differences: scores are calibrated as the sum of
both terms has them.

Rows are sorted by group and cut into blocks, and each block meets those blocks in which its groups
lie. That takes O(B (G + BLOCK)) pairs for groups of up to G rows and O(B BLOCK) memory, never
B x B. Both passes of it are done forwards, and the backward pass multiplies what they found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dtn_jax.data.epochs import batch_axis
from dtn_jax.errors import UserError
from dtn_jax.options import per_task
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Float, Int

WHAT = "loss.pairwise"
BLOCK = 64  # rows


def read_pairwise(config: ConfigDict, schema: Schema) -> dict[str, float]:
    """{task: the weight of its term} of those that have one; {} means that no step needs groups.

    Raises:
      UserError: an unknown task, a weight that is no number from 0, a data set without groups, or
        a batch that is taken in parts, which would miss the pairs between them.
    """
    weights = per_task(config.loss.pairwise, schema.task_names, WHAT, 0.0)
    terms = {task: weight for task, weight in weights.items() if weight}
    if terms and not schema.group:
        raise UserError(
            f"{WHAT}={config.loss.pairwise!r} ranks the rows of a group, and data set "
            f"{schema.name!r} has none: name a column (a user, a session) as `group` in its schema"
        )
    if terms and config.train.accumulate > 1:
        raise UserError(
            f"{WHAT}={config.loss.pairwise!r} does not go with train.accumulate="
            f"{config.train.accumulate}: pairs are of all rows of a batch; use train.accumulate=1"
        )
    return terms


def pairwise_losses(
    logits: Mapping[str, Float[Array, " B"]],
    labels: Float[Array, "B T"],
    weights: Float[Array, "B T"],
    group: Int[Array, "B 2"],
    tasks: tuple[str, ...],
    given: Mapping[str, float],
) -> Float[Array, " T"]:
    """Each task's weight * P_t, 0 for those without the term; computed in float32 or wider.

    Where `B` are not all rows of the batch, the devices' results add up to the term, and each has
    the gradient of the whole with respect to its own rows.

    Args:
      logits: {task: `[B]`}, the log-odds; of a regression task, what its tower gives.
      labels: `[B, T]`.
      weights: `[B, T]`, from `row_weights`.
      group: `[B, 2]`, the halves of each row's group.
      tasks: in the schema's order.
      given: from `read_pairwise`.

    Returns:
      `[T]`, nats; exactly 0, with gradients of exactly 0, where there is no pair.
    """
    result = []
    for column, task in enumerate(tasks):
        z = logits[task]
        z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        if task in given:
            weight = weights[:, column].astype(z.dtype)
            term = given[task] * ranked(z, labels[:, column].astype(z.dtype), weight, group)
        else:
            term = jnp.zeros((), z.dtype)
        result.append(term)
    return jnp.stack(result)


@jax.custom_vjp
def ranked(
    z: Float[Array, " B"],
    y: Float[Array, " B"],
    weight: Float[Array, " B"],
    group: Int[Array, "B 2"],
) -> Float[Array, ""]:
    """This device's part of P: of the pairs whose higher row is its own.

    Its derivative is that of the whole P with respect to this device's scores, so that devices'
    gradients add up as those of their own rows do.
    """
    return _forwards(z, y, weight, group)[0]


def _forwards(z, y, weight, group):
    costs, slope = rank_rows(*(batch_axis.gathered(a) for a in (z, y, weight, group)), BLOCK)
    return jnp.sum(batch_axis.own(costs)), batch_axis.own(slope)


def _backwards(slope, cotangent):
    return cotangent * slope, None, None, None


ranked.defvjp(_forwards, _backwards)


class Sorted(NamedTuple):
    """The rows by group, in blocks `[N, C]`: score, label, weight and the group's number.

    Attributes:
      first, last: `[N]`, the blocks between which those of a block's groups lie.
    """

    z: Float[Array, "N C"]
    y: Float[Array, "N C"]
    weight: Float[Array, "N C"]
    group: Int[Array, "N C"]
    first: Int[Array, " N"]
    last: Int[Array, " N"]


def rank_rows(
    z: Float[Array, " B"],
    y: Float[Array, " B"],
    weight: Float[Array, " B"],
    group: Int[Array, "B 2"],
    block: int,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """What each row of the whole batch adds to P, and the derivative of P by its score.

    Rows of weight 0 are of no group. `block` changes time and memory alone.
    """
    rows, order = by_group(z, y, weight, group, block)

    def as_higher(a, b):  # rows [N, C, 1] against [N, 1, C]
        apart = b.z - a.z
        numbers = b.weight, b.weight * jax.nn.softplus(apart), b.weight * jax.nn.sigmoid(apart)
        return [jnp.where(_ranks(a, b), one, 0) for one in numbers]

    below, cost, pull = met(rows, as_higher, 3)
    share = jnp.where(below > 0, rows.weight / jnp.where(below > 0, below, 1), 0)

    def as_lower(a, b):
        return [jnp.where(_ranks(b, a), b.weight * jax.nn.sigmoid(a.z - b.z), 0)]

    (push,) = met(rows._replace(weight=share), as_lower, 1)
    slope = rows.weight * push - share * pull
    return _put_back(share * cost, order), _put_back(slope, order)


def by_group(z, y, weight, group, block: int) -> tuple[Sorted, Int[Array, " B"]]:
    """The rows in blocks, padded by rows of weight 0, and where in the batch each row was."""
    place = jnp.arange(len(z), dtype=jnp.int32)
    out = (weight <= 0).astype(jnp.int32)  # sorted to the end, so that no block looks for them
    out, high, low, order = jax.lax.sort((out, group[:, 1], group[:, 0], place), num_keys=3)
    new = (out > 0) | (place == 0)
    new |= (high != jnp.roll(high, 1)) | (low != jnp.roll(low, 1))
    number = jnp.cumsum(new, dtype=jnp.int32)
    first = jax.lax.cummax(jnp.where(new, place, 0))
    ends = jnp.roll(new, -1).at[-1].set(True)
    last = jax.lax.cummin(jnp.where(ends, place, len(z)), reverse=True)

    def blocks(a, padding=0):
        count = -len(z) % block
        return jnp.pad(a, (0, count), constant_values=padding).reshape(-1, block)

    rows = Sorted(
        *(blocks(a[order]) for a in (z, y, weight)),
        blocks(number),
        blocks(first)[:, 0] // block,
        blocks(last, len(z) - 1).max(axis=1) // block,
    )
    return rows, order


def met(rows: Sorted, pair: Callable, count: int) -> tuple[Float[Array, "N C"], ...]:
    """Sums, for each row, of `count` numbers of the pairs with the rows of its group.

    All blocks meet their first block, then all their second, until none has another.
    """
    mine = Sorted(*(a[..., None] for a in rows[:4]), rows.first, rows.last)
    rounds = jnp.max(rows.last - rows.first) + 1

    def meet(round_, sums):
        at = rows.first + round_
        picked = jnp.minimum(at, len(rows.first) - 1)
        there = Sorted(*(a[picked][:, None, :] for a in rows[:4]), rows.first, rows.last)
        near = (at <= rows.last)[:, None]
        numbers = pair(mine, there)
        return tuple(
            kept + jnp.where(near, one.sum(axis=2), 0)
            for kept, one in zip(sums, numbers, strict=True)
        )

    zeros = tuple(jnp.zeros_like(rows.z) for _ in range(count))
    return jax.lax.fori_loop(0, rounds, meet, zeros)


def _ranks(a: Sorted, b: Sorted):
    """Whether row a is to be above row b."""
    return (a.group == b.group) & (a.y > b.y)


def _put_back(blocks, order):
    rows = blocks.reshape(-1)[: len(order)]
    return jnp.zeros_like(rows).at[order].set(rows, unique_indices=True)
