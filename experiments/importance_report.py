"""Keeps what explains trained models, and writes a report of all that is kept.

--workdirs names the runs of one model, a seed each, such as those of `dtn` of a table
(runs/paper/adult/runs/dtn-seed*), that dtn-jax feature_importance has explained. What it says of
them is kept in experiments/results/importance/NAME.json.gz; the report has means over seeds and
their spread. In the README.md there, all below its line of `BELOW` is written anew from the JSON
files; without --workdirs that is all. --check writes nothing; its exit code says whether the report
is up to date.
"""

from __future__ import annotations

import gzip
import json
import pathlib
from collections.abc import Mapping, Sequence

from dtn_jax.analysis import findings
from dtn_jax.analysis.explain import FOLDER
from dtn_jax.analysis.gate_use import ALL, EFFECTIVE
from dtn_jax.analysis.sections import divergence_columns, sections
from dtn_jax.cli import command
from dtn_jax.errors import UserError
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import markdown

COMMAND = "python -m experiments.importance_report"
EXAMPLE = f"{COMMAND} --name=adult --workdirs=runs/a_seed1,runs/a_seed2"
KEPT = pathlib.Path(__file__).parent / "results" / "importance"
REPORT = "README.md"
BELOW = "<!-- below: experiments.importance_report -->\n"
OPTIONS = {
    "name=NAME": "of what is kept (default: the data set's)",
    "workdirs=DIRS": "folders of explained runs, by comma",
    "check": "only compare, write nothing",
}
COLUMNS = ("data set", "tasks", "seeds", "divergence", "95 % interval", "noise alone")
COLUMNS += ("seeds alone",)
DIVERGENCE = (
    "Divergence is 1 − Spearman's correlation of two tasks' permutation importances. `noise "
    "alone` is what another sample of rows makes each task diverge by from itself, `seeds alone` "
    "what another seed does."
)


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    if given := command.listed(known.workdirs):
        models = [read(pathlib.Path(workdir)) for workdir in given]
        if len({(model["dataset"], model["architecture"]) for model in models}) > 1:
            raise UserError(f"--workdirs={known.workdirs}: expected runs of one model, a seed each")
        name = known.name or models[0]["dataset"]
        text = json.dumps(models, ensure_ascii=False, separators=(",", ":"))
        (KEPT / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    path = KEPT / REPORT
    before = path.read_text() if path.exists() else ""
    text = before.partition(BELOW)[0] + BELOW + report()
    if known.check and text != before:
        raise UserError(f"{path} is not what {COMMAND} writes; run it")
    if not known.check:
        path.write_text(text)


def read(workdir: pathlib.Path) -> dict:
    """A run's importance.json, without what only a single model's pictures show."""
    source = workdir / FOLDER / "importance.json"
    if not source.exists():
        raise UserError(f"{source} is not there: run dtn-jax feature_importance first")
    model = json.loads(source.read_text())
    weights = [row for row in model["gates"] if row["part"] in (ALL, EFFECTIVE)]
    return model | {"gates": weights, "over_training": []}


def report() -> str:
    """The summary of all data sets, then a section for each."""
    files = sorted(KEPT.glob("*.json.gz"))
    if not files:
        raise UserError(f"{KEPT} holds no *.json.gz: give --workdirs=DIR,...")
    every = {p.name.partition(".")[0]: json.loads(gzip.decompress(p.read_bytes())) for p in files}
    rows = [row for name, models in every.items() for row in summary(name, models)]
    parts = [f"{DIVERGENCE}\n\n{Grid(COLUMNS, rows).markdown()}"]
    for name, models in every.items():
        parts.append(f"## {name}\n\n{how(models)}\n\n{markdown(sections(models), level=3)}")
    return "\n".join(parts)


def summary(name: str, models: Sequence[Mapping]) -> list[list[str]]:
    """A row for each two tasks, in the spaces of their losses, by permutation."""
    columns = [*divergence_columns(len(models)).values()]
    rows = findings.in_own_spaces(findings.divergences(models, "permutation"))
    cells = [[write(row) for write in columns[:5]] for row in rows]
    return [[name, one[0], str(len(models)), *one[1:], *[""] * (5 - len(one))] for one in cells]


def how(models: Sequence[Mapping]) -> str:
    """What was explained, and the versions behind a section."""
    first, steps = models[0], ", ".join(f"{model['step']:,}" for model in models)
    seeds, versions = ", ".join(str(model["seed"]) for model in models), first["versions"]
    return (
        f"`{first['architecture']}` with experts `{first['experts']}`, the best states of seeds "
        f"{seeds} (step {steps}), {first['rows']:,} rows of {first['split']}. {first['date']}, jax "
        f"{versions['jax']}, Python {versions['python']}."
    )


if __name__ == "__main__":
    command.run(main)
