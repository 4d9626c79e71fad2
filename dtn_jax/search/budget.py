"""What a sweep may spend on an architecture, and how it searches and gives up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import optuna

from dtn_jax.errors import UserError
from dtn_jax.search.trial_storage import experimental

SAMPLERS = ("tpe", "random", "grid")
SEEDS = 2**32  # that a sampler takes, from 0
PRUNERS = ("none", "median", "asha")
THIRD = 3  # of the trials, one goes on


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a study may spend, and how; the same for all architectures of a sweep.

    Attributes:
      trials: finished ones, over all workers.
      sampler: of SAMPLERS; a grid is gone through by `grid`.
      pruner: of PRUNERS.
      seed: the sampler's.
      grid: {option: values}; empty without a grid.
      validations: of all trials together, from one of which to the next all train on the same
        number of examples, so that this is a budget of examples; 0 is no limit.
    """

    trials: int
    sampler: str
    pruner: str
    seed: int
    grid: Mapping[str, Sequence[str]]
    validations: int = 0


def make_sampler(budget: Budget, begun: int, anew: bool = False) -> optuna.samplers.BaseSampler:
    """What suggests settings.

    Args:
      budget: names it.
      begun: draws that have been made.
      anew: draws at random, whatever the sampler; TPE draws the same again, where settings are few.
    """
    if budget.grid:
        return optuna.samplers.GridSampler(dict(budget.grid), seed=budget.seed)
    if budget.sampler == "grid":
        raise UserError("--sampler=grid needs a --grid")
    seed = (budget.seed + 1_000_003 * begun) % SEEDS
    if anew or budget.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with experimental():  # trials that others do count as bad: workers don't all try the same
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def make_pruner(budget: Budget) -> optuna.pruners.BasePruner:
    """What ends bad trials early."""
    if budget.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    if budget.pruner == "asha":
        # Successive halving (Jamieson & Talwalkar 2016), asynchronous (Li et al. 2020): judged at
        # the first validation, the third, the ninth …, where the best third so far goes on. The
        # first trials have none to be compared with; where examples are counted, none of them goes
        # on, since each that does costs as much as many that are ended.
        first = THIRD - 1 if budget.validations else 0
        return optuna.pruners.SuccessiveHalvingPruner(1, THIRD, bootstrap_count=first)
    return optuna.pruners.NopPruner()
