"""Searches the settings of one architecture or several, on the same data, and reports each."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.report import screen
from dtn_jax.search import sweep_report, trial_storage
from dtn_jax.search.search import found, search
from dtn_jax.search.search_space import Space
from dtn_jax.search.studies import Budget, Study
from dtn_jax.search.trials import OBJECTIVE, with_settings


def sweep(
    configs: Mapping[str, ConfigDict],
    suggest: Space,
    budget: Budget,
    *,
    workdir: pathlib.Path,
    study: str,
    storage: str,
    words: Sequence[str],
) -> None:
    """Searches for each of these configs, and writes sweep.json and pictures.

    Args:
      configs: {architecture: what its trials start from}; they have the same data and objective.
      suggest: what the trials are asked to set.
      budget: of each architecture.
      workdir: of all searches.
      study: the search's name and folder in the workdir; "" is the workdir itself.
      storage: the URL of the storage; "" is sweep.db in the folder.
      words: the arguments of `train` that all trials share.

    Raises:
      UserError: the objective does not fit the data, or a search failed: the others are done.
    """
    config = next(iter(configs.values()))
    data = read_data(config)
    # A selection that does not fit the data set ends the search before it has a folder.
    metric = read_selection(OBJECTIVE, config.train.select, metrics_of(data.schema)).title
    workdir = workdir / study
    storage = storage or trial_storage.url_of_file(workdir / "sweep.db")
    workdir.mkdir(parents=True, exist_ok=True)
    reports, problems = {}, []

    def report(one: Study) -> None:
        given = [*words, f"--config.model.architecture={one.name}"]
        reports[one.name] = sweep_report.report(workdir, one, found(one), given)
        sweep_report.write(workdir, reports)

    for name, own in configs.items():
        facts = {"data": data.fingerprint, "metric": metric, "report": report}
        facts["stored_as"] = f"{study or data.schema.name}/{name}"
        try:
            search(own, suggest, workdir / name, budget, name=name, storage=storage, **facts)
        except UserError as error:  # the other architectures are searched nevertheless
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError("; ".join(problems))
    screen.say(f"\nAll trials and pictures are in {workdir}")


def at_points(config: ConfigDict, grid: Mapping[str, Sequence[str]]) -> list[ConfigDict]:
    """A config with each list of experts and losses of a grid; other options depend on these."""
    lists = [key for key in ("model.experts", "model.group_experts", "loss.tasks") if key in grid]
    points = itertools.product(*(grid[key] for key in lists))
    return [with_settings(config, dict(zip(lists, point))) for point in points]


def read_data(config: ConfigDict) -> Prepared:
    """The data of all trials."""
    source = config.data
    return catalog.load(source.dataset, source.options, source.data_dir, source.manual_dir)
