"""Keeps the results of experiments.feature_importance, and writes a report of all that it keeps.

It copies each run's importance.json to experiments/results/importance/DATASET.json, with the main
pictures, and rewrites the README.md there from all JSON files. It refuses two runs of one data
set. Without --workdirs it only rewrites the report. --check writes nothing; its exit code says
whether the report is up to date.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import shutil
from collections.abc import Mapping, Sequence

from dtn_jax.analysis import markdown
from dtn_jax.analysis.tables import decimals, divergences, own_spaces
from dtn_jax.config import flatten, identity, load_config
from dtn_jax.errors import UserError

from . import command
from .feature_importance import FOLDER

EXAMPLE = "python -m experiments.importance_report --workdirs=runs/adult_dtn,runs/census_dtn"
KEPT = pathlib.Path(__file__).parent / "results" / "importance"
REPORT = "README.md"
HEAD = """\
# Importance by task

Which fields does each task's prediction depend on, how far do the tasks differ in that, and what
goes on inside the model? `experiments.importance_report` writes this page from the JSON files
beside it; `dtn_jax/analysis/` defines the measures. How to read it:

- Every number describes one trained model. Intervals are over rows and permutations, not seeds.
- Fields that carry the same information share their importance: permuting one leaves the other in
  place. Permuted rows may be impossible ones, and what a model depends on need not be a cause.
- The interval of a divergence is the middle 95 % of resampled divergences. In the simulations of
  `tests/analysis/test_analysis_rank.py` (8 to 39 fields, little and much noise), 88 to 96 % of
  these intervals hold the true value. Noise pushes divergences up. So the interval is not a test
  against 0; compare it with the divergence that noise alone causes.
- If train has no unknown value of a field, row 0 of its table was never trained. Setting the
  field to unknown then removes it, rather than saying that it is unknown.
"""


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--workdirs", default="", help="folders of finished runs, comma-separated")
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    known = parser.parse_args(arguments)
    given = [] if known.check else filter(None, known.workdirs.split(","))
    found = {workdir: read(workdir) for workdir in map(pathlib.Path, given)}  # all, or none is kept
    refuse_twins(found)
    for workdir in found:
        keep(workdir, found[workdir])
    text = report()
    path = KEPT / REPORT
    if known.check:
        if not path.exists() or path.read_text() != text:
            raise UserError(f"{path} is not what {EXAMPLE.partition(' --')[0]} writes; run it")
    else:
        path.write_text(text)


def read(workdir: pathlib.Path) -> dict:
    """A run's importance.json, with the command that trained it."""
    source = workdir / FOLDER / "importance.json"
    if not source.exists():
        raise UserError(f"{source} is not there: run experiments.feature_importance first")
    found = json.loads(source.read_text())
    trained_by = training_command(json.loads((workdir / "config.json").read_text()))
    return found | {"trained_by": trained_by}


def refuse_twins(found: Mapping[pathlib.Path, Mapping]) -> None:
    """Raises UserError for two runs of one data set: their results would have one name."""
    by_dataset: dict[str, pathlib.Path] = {}
    for workdir, facts in found.items():
        other = by_dataset.setdefault(facts["dataset"], workdir)
        if other != workdir:
            raise UserError(
                f"{other} and {workdir} are both runs of {facts['dataset']!r}: expected one run a "
                "data set, the one to be kept"
            )


def keep(workdir: pathlib.Path, found: Mapping) -> None:
    """Copies what was found, and the run's pictures, to KEPT."""
    KEPT.mkdir(parents=True, exist_ok=True)
    name = found["dataset"]
    for picture in markdown.PICTURES:
        path, kept = workdir / FOLDER / f"{picture}.png", KEPT / f"{name}_{picture}.png"
        if path.exists():
            shutil.copy(path, kept)
        else:
            kept.unlink(missing_ok=True)
    text = json.dumps(found, ensure_ascii=False, indent=None, separators=(",", ":"))
    (KEPT / f"{name}.json").write_text(text.replace('},"', '},\n"') + "\n")


def training_command(facts: Mapping) -> str:
    """The command that trains a run: its config file, and the options that differ from it."""
    stored = identity(facts["config"])
    as_given = flatten(facts["config"])
    stored["analysis.rows"] = as_given.get("analysis.rows", 0)
    stored["data.options"] = as_given.get("data.options", "")  # with the place of a schema file
    dataset, architecture = stored["data.dataset"], stored["model.architecture"]
    spec = f"configs/{dataset}.py:{architecture}"
    usual = flatten(load_config(spec))
    given = [
        shlex.quote(
            f"--config.{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
        )
        for key, value in stored.items()
        if usual.get(key) != value
    ]
    words = ["python -m experiments.train", f"--config={spec}", f"--workdir={folder(facts)}"]
    return " ".join([*words, *given])


def folder(facts: Mapping) -> str:
    config = flatten(facts["config"])
    return f"runs/{config['data.dataset']}_{config['model.architecture']}"


def report() -> str:
    files = sorted(KEPT.glob("*.json"))
    if not files:
        raise UserError(f"{KEPT} holds no JSON: give --workdirs=DIR,...")
    by_name = {path.stem: json.loads(path.read_text()) for path in files}
    parts = [HEAD, summary(by_name)]
    for path in files:
        found = by_name[path.stem]
        pictures = {
            name: f"{path.stem}_{name}.png"
            for name in markdown.PICTURES
            if (KEPT / f"{path.stem}_{name}.png").exists()
        }
        parts += [f"## {path.stem}\n", how(found), markdown.section(found, pictures)]
    return "\n".join(parts)


def summary(by_name: Mapping[str, Mapping]) -> str:
    """A row for each two tasks of each data set, in the spaces of their losses, by permutation."""
    rows = []
    for name, found in by_name.items():
        if "permutation" not in found["methods"]:
            continue
        facts = found["methods"]["permutation"]
        agreement = found["truth"].get("agreement", {}).get("permutation", {})
        known = found["truth"].get("divergence", {"keys": []})
        truth = {(left, right): value for left, right, value, *_ in divergences(known)}
        own = own_spaces(list(facts["importance"]))
        for left, right, value, ends, noise in divergences(facts["divergence"], own):
            agreed = [agreement[k]["rank_correlation"] for k in (left, right) if agreement]
            true = truth.get((left, right), "")
            cells = [value, ends, noise, true, ", ".join(map(decimals, agreed))]
            rows.append([name, f"{left}, {right}", *cells])
    header = ["data set", "tasks", "divergence", "95 % interval", "noise alone", "known"]
    return (
        "Divergence is 1 − Spearman's correlation of two tasks' permutation importances. Where the "
        "answer is known, `known` is the divergence of the Bayes-optimal score's importances, and "
        "`agreement` each task's rank correlation with these, over the fields above their noise."
        "\n\n" + markdown.table([*header, "agreement"], rows) + "\n"
    )


def how(found: Mapping) -> str:
    """The commands and versions behind a section."""
    workdir = f"runs/{found['dataset']}_{found['architecture']}"
    words = ["python -m experiments.feature_importance", f"--workdir={workdir}"]
    explained = " ".join([*words, *found["arguments"]])
    versions = found["versions"]
    return (
        f"`{found['architecture']}` with experts `{found['experts']}`, its best state (step "
        f"{found['step']:,}), {found['rows']:,} rows of {found['split']}. {found['date']}, jax "
        f"{versions['jax']}, Python {versions['python']}.\n\n"
        f"```bash\n{found['trained_by']}\n{explained}\n```\n"
    )


if __name__ == "__main__":
    command.run(main)
