"""A study that no file holds."""

import optuna

from experiments.search import studies
from experiments.search.budget import Budget


def in_memory(trials):
    study = optuna.create_study(direction="maximize")
    budget = Budget(trials, "tpe", "none", 0, {})
    return studies.Study("dtn", study, "mean", budget, study._storage)
