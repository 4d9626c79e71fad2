"""What a sweep may spend on an architecture, and how it searches and gives up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import optuna

from dtn_jax.schema import UserError

SAMPLERS = ("tpe", "random", "grid")
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


def make_sampler(budget: Budget, begun: int) -> optuna.samplers.BaseSampler:
    """`begun` trials are there already: their draws are not made again."""
    if budget.grid:
        return optuna.samplers.GridSampler(dict(budget.grid), seed=budget.seed)
    if budget.sampler == "grid":
        raise UserError("--sampler=grid needs a --grid")
    seed = budget.seed + 1_000_003 * begun
    if budget.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    if name == "asha":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.NopPruner()
