"""A study, opened: made anew, or held against what it was begun with."""

from __future__ import annotations

import optuna
from ml_collections import ConfigDict

from dtn_jax.config import differing, identity
from dtn_jax.errors import UserError
from dtn_jax.metrics.selected import higher_is_better
from dtn_jax.search import trial_storage
from dtn_jax.search.budget import Budget, make_pruner, make_sampler
from dtn_jax.search.storage_urls import shown
from dtn_jax.search.studies import Study
from dtn_jax.search.trial_storage import create_study
from dtn_jax.search.trials import SETTINGS, drawn

OWNER = "config"  # the attribute of a study that says what it was begun with


def open_study(
    storage: str,
    name: str,
    config: ConfigDict,
    objective: str,
    budget: Budget,
    space: str = "",
    search: str = "",
    data: str = "",
    metric: str = "AUC",
) -> Study:
    """Opens the study of an architecture, or makes it.

    Args:
      storage: as Optuna takes it, or a journal.
      name: of the architecture.
      config: what its trials start from.
      objective: as `train.select` names it.
      budget: what it may spend.
      space: what suggests settings, as text.
      search: tells studies of one architecture apart that share a storage.
      data: the data set's fingerprint.
      metric: what the objective's metric is called, for tables and pictures.

    Raises:
      UserError: the storage cannot be opened, or the study there is of another config, data set,
        objective, space or grid.
    """
    try:
        return _opened(storage, name, config, objective, budget, space, search, data, metric)
    except UserError:
        raise
    except Exception as error:  # of a database whose pages or whose JSON are damaged
        what = ": ".join(dict.fromkeys([type(error).__name__, trial_storage.brief(error)]))
        raise UserError(
            f"storage {shown(storage)!r} is damaged ({what}); move it away: the "
            "search then begins anew, and takes the results of trials that it draws again from "
            "their folders"
        ) from error


def _opened(
    storage: str,
    name: str,
    config: ConfigDict,
    objective: str,
    budget: Budget,
    space: str,
    search: str,
    data: str,
    metric: str,
) -> Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    make_sampler(budget, 0)
    own = {k: str(v) for k, v in identity(config).items()}
    grid = dict(budget.grid)
    owner = {"config": own, "objective": objective, "grid": grid, "space": space}
    owner |= {"data": data, "sampler": budget.sampler, "pruner": budget.pruner, "seed": budget.seed}
    stored_as = f"{search}/{name}" if search else name
    opened, study = create_study(
        storage, stored_as, make_pruner(budget), higher_is_better(objective)
    )
    study.sampler = make_sampler(budget, drawn(study.get_trials(deepcopy=False)))
    stored = study.user_attrs.get(OWNER)
    if stored is None:
        study.set_user_attr(OWNER, owner)
        stored = owner
    others = sorted(differing(identity(stored["config"]), own))
    others += [k for k in owner if k != "config" and stored.get(k) != owner[k]]
    if others:
        Study(name, study, objective, budget, opened).close()
        raise UserError(
            f"the study {stored_as!r} in {shown(storage)!r} was begun with another "
            f"{', '.join(others)}; give another --study, --workdir or --storage"
        )
    made = Study(name, study, objective, budget, opened, metric)
    check_trials(made)
    return made


def check_trials(study: Study) -> None:
    """Raises ValueError where a trial holds what no worker writes."""
    for trial in study.trials():
        values = [*trial.intermediate_values.values()]
        values += [trial.value] if trial.state == optuna.trial.TrialState.COMPLETE else []
        for value in values:
            if not isinstance(value, float):
                raise ValueError(f"trial {trial.number} has the value {value!r}, expected a number")
        if not isinstance(trial.user_attrs.get(SETTINGS, ""), str):
            raise ValueError(f"the settings of trial {trial.number} are no text")
