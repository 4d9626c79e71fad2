"""What a sweep may spend on an architecture, and how it searches and gives up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import optuna

from dtn_jax.errors import UserError

from .trial_storage import experimental

SAMPLERS = ("tpe", "random", "grid")
SEEDS = 2**32  # that a sampler takes, from 0
PRUNERS = ("none", "median", "asha")


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a study may spend, and how; the same for all architectures of a sweep.

    Attributes:
      trials: finished ones, over all workers.
      sampler: of SAMPLERS; a grid is gone through by `grid`.
      pruner: of PRUNERS.
      seed: the sampler's.
      grid: {option: values}; empty without a grid.
    """

    trials: int
    sampler: str
    pruner: str
    seed: int
    grid: Mapping[str, Sequence[str]]


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


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    if name == "asha":
        # Judged at the first validation, the third, the ninth …: a third of the trials goes on.
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    return optuna.pruners.NopPruner()
