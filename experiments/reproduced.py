"""Do the shipped configs give what the tables say?

For each data set with a table it trains `configs/NAME.py:dtn` in WORKDIR/NAME, with a seed that no
run of the tables had, and says how far each test AUC lies from the mean of the table's row, in
standard deviations of the row's seeds. It keeps the AUCs in
experiments/results/paper/reproduced.json, from where `python -m experiments.results_table` takes
them. Finished runs are not trained again.
"""

from __future__ import annotations

import json
import math
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence

import scipy.stats

from dtn_jax.config import identity, load_config
from dtn_jax.errors import UserError
from dtn_jax.report import screen

from . import command, train
from .tables import kept
from .tables.cells import digest
from .tables.numbers import FINE, spread
from .tables.protocol import OURS

EXAMPLE = "python -m experiments.reproduced --datasets=adult --workdir=runs/shipped"
RESUMES = True
NAMES = ("adult", "census_income", "kuairand", "kuairand_histories", "synthetic")
SPEC = f"configs/{{}}.py:{OURS}"
SEED = 99  # trials have 0, finalists 101 and more, final runs 1, 2, ...
PAPER = pathlib.Path(__file__).parent / "results" / "paper"
FILE = "reproduced.json"
NEAR = 2.0  # standard deviations


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--datasets", default=",".join(NAMES), help="of which; default: all")
    parser.add_argument("--workdir", default="", help="the folder for the runs")
    parser.add_argument("--data_dir", default="", help="prepared sets; see configs/base.py")
    parser.add_argument("--manual_dir", default="", help="raw files; see configs/base.py")
    known = parser.parse_args(arguments)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the runs' files")
    names = known.datasets.split(",")
    for name in names:  # before an hour of training, not after it
        row_of(name)
    folders = [f"--config.data.data_dir={known.data_dir}"] if known.data_dir else []
    folders += [f"--config.data.manual_dir={known.manual_dir}"] if known.manual_dir else []
    path = PAPER / FILE
    found = kept.read_json(path) or {}
    for name in names:
        place, spec = pathlib.Path(known.workdir) / name, SPEC.format(name)
        given = [f"--config={spec}", f"--config.seed={SEED}", f"--workdir={place}"]
        train.main([*given, *folders])
        test = json.loads((place / "results.json").read_text())["test"]
        aucs = {key: own["auc"] for key, own in test.items()}
        found[name] = {"options": options(spec), "seed": SEED, "test": aucs}
        kept.keep(path, dict(sorted(found.items())))
    screen.say(table(found))


def options(spec: str) -> str:
    """A hash of the options of a config that its numbers depend on."""
    return digest(identity(load_config(spec)))


def table(found: Mapping[str, Mapping]) -> str:
    """The runs beside the tables' rows, as Markdown.

    Args:
      found: {data set: {"test": {task@space: test AUC}}}.
    """
    lines = ["| data set | task | the table's row | this run | sd from it |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    distances = []
    for name, run in found.items():
        for key, values in enough(row_of(name)):
            deviation = statistics.stdev(values)
            distances.append((run["test"][key] - statistics.mean(values)) / deviation)
            away = f"{distances[-1]:+.1f}".replace("-", "−")
            digits = 5 if deviation < FINE else 4
            row = (name, key, spread(values, digits), f"{run['test'][key]:.{digits}f}", away)
            lines.append(f"| {' | '.join(row)} |")
    near = sum(abs(distance) <= NEAR for distance in distances)
    seeds = len(values)
    expected = 1 - 2 * scipy.stats.t.sf(NEAR / math.sqrt(1 + 1 / seeds), seeds - 1)
    told = (
        f"{near} of {len(distances)} lie within {NEAR:.0f} sd. If seeds vary normally, "
        f"{expected:.0%} are expected to: mean and sd of {seeds} seeds are estimates themselves. "
        "Tasks with fewer than 100 examples of a class on test are left out."
    )
    return "\n".join([*lines, "", told]) + "\n\n"


def row_of(name: str) -> Mapping:
    """The table's row of a data set.

    Raises:
      UserError: it has no table.
    """
    path = PAPER / name / "overall.json"
    if not path.exists():
        raise UserError(f"no table of data set {name!r}; there are: {', '.join(NAMES)}")
    return next(r for r in json.loads(path.read_text())["rows"] if r["name"] == OURS)


def enough(row: Mapping) -> Iterator[tuple[str, list[float]]]:
    """(task@space, AUC by seed) where test has enough examples of both classes."""
    for key, own in row["metrics"].items():
        if key not in row["few"]:
            yield key, own["auc"]


if __name__ == "__main__":
    command.run(main, RESUMES)
