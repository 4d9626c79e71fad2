"""Keeps what experiments.feature_importance found, and writes a report of all that is kept.

Each run's importance.json goes to experiments/results/importance/DATASET.json and its main pictures
beside it; README.md there is written anew from all JSON files. Without --workdirs, or with --check,
nothing is taken over; two runs of one data set are refused. With --check nothing is written, and
the exit code says whether the report is up to date.
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

Which fields each task's predictions depend on, how far the tasks differ in that, and what goes on
inside the model. Written by `experiments.importance_report` from the JSON files beside it; what the
measures are stands in `dtn_jax/analysis/`. Every number is of one trained model: intervals are over
rows and permutations, not over seeds. Fields that say the same share their importance: permuting
one leaves the other in place. Permuted rows need not be possible ones, and what a model depends on
need not be a cause. The interval of a divergence is the middle 95 % of resampled ones; of the pairs
that `tests/analysis/test_analysis_rank.py` simulates, 8 to 39 fields with little and much noise,
88 to 96 % hold the true one. Noise pushes divergences up: the interval is no test against 0, and is
to be read beside what noise alone makes. Where train has no unknown value of a field, its row 0 was
never trained: setting the field to unknown then takes it away rather than says that it is unknown.
"""


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--workdirs", default="", help="folders of finished runs, comma-separated")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
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
            raise UserError(f"{path} is not what {EXAMPLE.partition(' --')[0]} writes; call it")
    else:
        path.write_text(text)


def read(workdir: pathlib.Path) -> dict:
    """A run's importance.json, with the command that trained it."""
    source = workdir / FOLDER / "importance.json"
    if not source.exists():
        raise UserError(f"{source} is not there: call experiments.feature_importance first")
    found = json.loads(source.read_text())
    trained_by = training_command(json.loads((workdir / "config.json").read_text()))
    return found | {"trained_by": trained_by}


def refuse_twins(found: Mapping[pathlib.Path, Mapping]) -> None:
    """One run a data set: what is kept of a run is called by that."""
    by_dataset: dict[str, pathlib.Path] = {}
    for workdir, facts in found.items():
        other = by_dataset.setdefault(facts["dataset"], workdir)
        if other != workdir:
            raise UserError(
                f"{other} and {workdir} are both runs of {facts['dataset']!r}: expected one run a "
                "data set, the one to be kept"
            )


def keep(workdir: pathlib.Path, found: Mapping) -> None:
    """Puts what was found, and the run's pictures, among what is kept."""
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
    """The command that trains a run: its config file, and where it departs from that."""
    stored = identity(facts["config"])
    stored["analysis.rows"] = flatten(facts["config"]).get("analysis.rows", 0)
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
        "Divergence is 1 − Spearman's correlation of two tasks' permutation importances. Known, "
        "where the answer is, is that of the Bayes-optimal score's importances, and agreement each "
        "task's rank correlation with these, over the fields above their noise.\n\n"
        + markdown.table([*header, "agreement"], rows)
        + "\n"
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
