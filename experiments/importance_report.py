"""Keeps what explains trained models, and writes a report of all that is kept.

--workdirs names the runs of one model, a seed each, such as those of `dtn` of a table
(runs/paper/adult/runs/dtn-seed*), that dtn-jax feature_importance has explained. What it found of
them is kept in experiments/results/importance/NAME.json; the report has means over seeds and their
spread. In the README.md there, all below its line of `BELOW` is written anew from the JSON files;
without --workdirs that is all. --check writes nothing; its exit code says whether the report is up
to date.
"""

from __future__ import annotations

import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence

from dtn_jax.analysis import findings
from dtn_jax.analysis.explain import FOLDER
from dtn_jax.analysis.sections import decimals, divergence_columns, sections
from dtn_jax.cli import command
from dtn_jax.config import flatten, identity, load_config
from dtn_jax.errors import UserError
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import markdown

COMMAND = "python -m experiments.importance_report"
EXAMPLE = f"{COMMAND} --name=adult --workdirs=runs/a_seed1,runs/a_seed2"
KEPT = pathlib.Path(__file__).parent / "results" / "importance"
REPORT = "README.md"
BELOW = "<!-- below: experiments.importance_report -->\n"
COLUMNS = ("data set", "tasks", "seeds", "divergence", "95 % interval", "noise alone")
COLUMNS += ("seeds alone", "known", "agreement")
DIVERGENCE = (
    "Divergence is 1 − Spearman's correlation of two tasks' permutation importances. `noise "
    "alone` is what another sample of rows makes each task diverge by from itself, `seeds alone` "
    "what another seed does. Where the answer is known, `known` is the divergence of the "
    "Bayes-optimal score's importances, and `agreement` each task's rank correlation with these, "
    "over the fields above their noise."
)


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--name", default="", help="of what is kept (default: the data set's)")
    parser.add_argument("--workdirs", default="", help="folders of explained runs, comma-separated")
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    known = parser.parse_args(arguments)
    if given := [part for part in known.workdirs.split(",") if part]:
        found = [read(pathlib.Path(workdir)) for workdir in given]
        if len({(one["dataset"], one["architecture"]) for one in found}) > 1:
            raise UserError(f"--workdirs={known.workdirs}: expected runs of one model, a seed each")
        for one in found if len(found) > 1 else ():  # what only a single model's pictures show
            one["gates"].pop("segments", None)
            one["over_training"] = {}
        name = known.name or found[0]["dataset"]
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        (KEPT / f"{name}.json").write_text(text.replace('},"', '},\n"') + "\n")
    path = KEPT / REPORT
    before = path.read_text() if path.exists() else ""
    text = before.partition(BELOW)[0] + BELOW + report()
    if known.check and text != before:
        raise UserError(f"{path} is not what {COMMAND} writes; run it")
    if not known.check:
        path.write_text(text)


def read(workdir: pathlib.Path) -> dict:
    """A run's importance.json, with its seed and the command that trained it."""
    source = workdir / FOLDER / "importance.json"
    if not source.exists():
        raise UserError(f"{source} is not there: run dtn-jax feature_importance first")
    facts = json.loads((workdir / "config.json").read_text())
    made = {"seed": facts["config"]["seed"], **json.loads(source.read_text())}
    return made | {"trained_by": training_command(facts)}


def training_command(facts: Mapping) -> str:
    """The command that trains a run: its config file, and the options that differ from it."""
    stored, as_given = identity(facts["config"]), flatten(facts["config"])
    for key in ("analysis.rows", "data.options"):  # with the place of a schema file
        stored[key] = as_given[key]
    dataset, architecture = stored["data.dataset"], stored["model.architecture"]
    spec = f"configs/{dataset}.py:{architecture}"
    usual = flatten(load_config(spec))
    words = [f"--config={spec}", f"--workdir=runs/{dataset}_{architecture}"]
    for key, value in stored.items():
        if usual.get(key) != value:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else value
            words.append(f"--config.{key}={text}")
    return shlex.join(["dtn-jax", "train", *words])


def report() -> str:
    """The summary of all data sets, then a section for each."""
    files = sorted(KEPT.glob("*.json"))
    if not files:
        raise UserError(f"{KEPT} holds no JSON: give --workdirs=DIR,...")
    every = {path.stem: json.loads(path.read_text()) for path in files}
    rows = [row for name, found in every.items() for row in summary(name, found)]
    parts = [f"{DIVERGENCE}\n\n{Grid(COLUMNS, rows).markdown()}"]
    for name, found in every.items():
        parts.append(f"## {name}\n\n{how(found)}\n{markdown(sections(found, {}), level=3)}")
    return "\n".join(parts)


def summary(name: str, found: Sequence[Mapping]) -> list[list[str]]:
    """A row for each two tasks, in the spaces of their losses, by permutation."""
    if "permutation" not in found[0]["methods"]:
        return []
    agreed = {
        row["key"]: findings.mean(row["rank_correlation"])
        for row in findings.over_seeds(
            findings.rows(found, "truth/agreement/permutation", "key"), "key"
        )
    }
    columns = divergence_columns(len(found))
    rows = []
    for row in findings.in_own_spaces(findings.divergences(found, "permutation")):
        cells = [write(row) for write in columns.values()]
        seeds = cells[4] if len(found) > 1 else ""
        known = "" if row["known"] is None else decimals(row["known"])
        agree = [decimals(agreed[row[side]]) for side in ("left", "right") if agreed]
        last = [*cells[1:4], seeds, known, ", ".join(agree)]
        rows.append([name, cells[0], str(len(found)), *last])
    return rows


def how(found: Sequence[Mapping]) -> str:
    """The commands and versions behind a section."""
    first, steps = found[0], ", ".join(f"{one['step']:,}" for one in found)
    seeds, versions = ", ".join(str(one["seed"]) for one in found), first["versions"]
    explained = ["dtn-jax", "feature_importance", f"--workdir=DIR/{first['run']}"]
    return (
        f"`{first['architecture']}` with experts `{first['experts']}`, the best states of seeds "
        f"{seeds} (step {steps}), {first['rows']:,} rows of {first['split']}. {first['date']}, jax "
        f"{versions['jax']}, Python {versions['python']}. Of the first seed:\n\n```bash\n"
        f"{first['trained_by']}\n{shlex.join([*explained, *first['arguments']])}\n```\n"
    )


if __name__ == "__main__":
    command.run(main)
