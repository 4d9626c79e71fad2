"""Do the shipped configs give what the tables say?

For each data set with a table it runs `dtn-jax train --config=configs/NAME.py:dtn`, with the
default seed, in WORKDIR/NAME, and says how far each test AUC lies from the mean of the table's row,
in standard deviations of the row's seeds. It keeps the AUCs in
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

from dtn_jax.errors import UserError
from dtn_jax.report import screen

from . import command, train
from .tables.numbers import spread
from .tables.protocol import OURS

EXAMPLE = "python -m experiments.reproduced --datasets=adult --workdir=runs/shipped"
RESUMES = True
NAMES = ("adult", "census_income", "kuairand", "kuairand_histories", "synthetic")
PAPER = pathlib.Path(__file__).parent / "results" / "paper"
FILE = "reproduced.json"
NEAR = 2.0  # standard deviations


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--datasets", default=",".join(NAMES), help="of which; default: all")
    parser.add_argument("--workdir", default="", help="the folder for the runs")
    known, rest = parser.parse_known_args(arguments)
    if not known.workdir:
        raise UserError("no workdir: give --workdir=DIR, the folder for the runs' files")
    path = PAPER / FILE
    measured = json.loads(path.read_text()) if path.exists() else {}
    for name in known.datasets.split(","):
        row_of(name)  # before an hour of training, not after it
        folder = pathlib.Path(known.workdir) / name
        train.main([f"--config=configs/{name}.py:{OURS}", f"--workdir={folder}", *rest])
        test = json.loads((folder / "results.json").read_text())["test"]
        measured[name] = {key: found["auc"] for key, found in test.items()}
        path.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    screen.say(table(measured))


def table(measured: Mapping[str, Mapping[str, float]]) -> str:
    """The runs beside the tables' rows, as Markdown.

    Args:
      measured: {data set: {task@space: test AUC}}.
    """
    lines = ["| data set | task | the table's row | this run | sd from it |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    distances = []
    for name, own in measured.items():
        for key, values in enough(row_of(name)):
            distances.append((own[key] - statistics.mean(values)) / statistics.stdev(values))
            away = f"{distances[-1]:+.1f}".replace("-", "−")
            digits = 5 if statistics.stdev(values) < 5e-5 else 4
            row = (name, key, spread(values, digits), f"{own[key]:.{digits}f}", away)
            lines.append(f"| {' | '.join(row)} |")
    near = sum(abs(distance) <= NEAR for distance in distances)
    seeds = len(values)
    expected = 1 - 2 * scipy.stats.t.sf(NEAR / math.sqrt(1 + 1 / seeds), seeds - 1)
    told = (
        f"{near} of {len(distances)} lie within {NEAR:.0f} sd. If seeds vary normally, "
        f"{expected:.0%} do: both the mean and the sd of {seeds} seeds are estimates. Tasks with "
        "fewer than 100 examples of a class on test are left out."
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
    for key, found in row["metrics"].items():
        if key not in row["few"]:
            yield key, found["auc"]


if __name__ == "__main__":
    command.run(main, RESUMES)
