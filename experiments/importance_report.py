"""Keeps what explains trained models, and writes a report of all that is kept.

Of runs: it copies each run's importance.json, which dtn-jax feature_importance writes, to
experiments/results/importance/DATASET.json, with the main pictures. It refuses two runs of one data
set.

Of paper tables: with --datasets it explains the tuned models of the tables' seeds, those of DTN,
and keeps what it finds of all seeds in PROTOCOL.json; the report has means over seeds and their
spread. A model that was explained is not explained again.

It rewrites the README.md there from all JSON files; without --workdirs and --datasets that is all.
--check writes nothing; its exit code says whether the report is up to date.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shlex
import shutil
from collections.abc import Mapping, Sequence

import jax

from dtn_jax.analysis import pictures
from dtn_jax.analysis.explain import Settings
from dtn_jax.analysis.sections import PICTURES
from dtn_jax.cli import command
from dtn_jax.cli.feature_importance import FOLDER, arguments_of, config_of, explained
from dtn_jax.config import flatten, identity, load_config
from dtn_jax.errors import UserError
from dtn_jax.papertables import finished
from dtn_jax.papertables.protocol import Entry
from dtn_jax.papertables.work import Work
from dtn_jax.report import screen
from experiments.importance_page import COMMAND, page

EXAMPLE = f"{COMMAND} --datasets=adult,census_income --workdir=runs/paper"
KEPT = pathlib.Path(__file__).parent / "results" / "importance"
REPORT = "README.md"
SETTINGS = Settings()  # with which models of tables are explained


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument("--workdirs", default="", help="folders of finished runs, comma-separated")
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    finished.add_options(parser, "")
    known = parser.parse_args(arguments)
    path = KEPT / REPORT
    if known.check:
        if not path.exists() or path.read_text() != report():
            raise UserError(f"{path} is not what {COMMAND} writes; run it")
        return
    found = {workdir: read(workdir) for workdir in map(pathlib.Path, parts(known.workdirs))}
    refuse_twins(found)  # all, or none is kept
    for workdir in found:
        keep(found[workdir]["dataset"], [found[workdir]], workdir / FOLDER)
    for name, work in (finished.works(known) if known.datasets else {}).items():
        keep(name, *of_tables(name, work, known.seeds))
    path.write_text(report())


def parts(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def of_tables(name: str, work: Work, seeds: int) -> tuple[list[dict], pathlib.Path]:
    """What is found of the tables' own model, by seed, and the folder of the first one's pictures.

    Raises:
      UserError: no run is finished.
    """
    ours = Entry(work.protocol.ours, work.protocol.ours)
    runs = {seed: finished.folder(work, ours, seed) for seed in range(1, seeds + 1)}
    lacking = [f"{name}, seed {seed}" for seed, run in runs.items() if run is None]
    runs = {seed: run for seed, run in runs.items() if run}
    if not runs:
        raise UserError(
            f"no finished run of {ours.name} to explain: make a table of {name} first, and keep "
            "its folder of runs"
        )
    if lacking:
        screen.say(finished.told(lacking))
    made, trained_by = [], table_command(name, ours.name, max(runs))
    for seed, run in runs.items():
        found = explained_once(run, work.places, f"{name}, {ours.name}, seed {seed}")
        made.append({"seed": seed, **found, "trained_by": trained_by})
    return made, runs[min(runs)] / FOLDER


def explained_once(run: pathlib.Path, places: Mapping[str, str], label: str) -> dict:
    """What dtn-jax feature_importance leaves of a run; made where it is not there."""
    path = run / FOLDER / "importance.json"
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads(path.read_text())
        if found["arguments"] == list(arguments_of(SETTINGS)):
            return found
    screen.say(label, style="bold")
    config = config_of(run, "", places["data.data_dir"], places["data.manual_dir"])
    found = explained(config, run, SETTINGS)
    jax.clear_caches()
    return found


def table_command(name: str, entry: str, seeds: int) -> str:
    return (
        f"dtn-jax paper_tables --dataset={name} --table=overall --entries={entry} "
        f"--seeds={seeds} --workdir=runs/paper"
    )


def read(workdir: pathlib.Path) -> dict:
    """A run's importance.json, with the command that trained it."""
    source = workdir / FOLDER / "importance.json"
    if not source.exists():
        raise UserError(f"{source} is not there: run dtn-jax feature_importance first")
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


def keep(name: str, found: Sequence[Mapping], folder: pathlib.Path) -> None:
    """Writes what was found of a model, or of several seeds' models, and pictures of it, to KEPT.

    Args:
      name: of what is kept.
      found: by seed.
      folder: has the pictures of the first one.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    several = len(found) > 1
    drawn = pictures.draw(found, KEPT, f"{name}_") if several else []
    for picture in PICTURES:
        path, kept = folder / f"{picture}.png", KEPT / f"{name}_{picture}.png"
        if not several and path.exists():
            shutil.copy(path, kept)
        elif picture not in drawn:
            kept.unlink(missing_ok=True)
    content = [without_segments(one) for one in found] if several else found[0]
    text = json.dumps(content, ensure_ascii=False, indent=None, separators=(",", ":"))
    (KEPT / f"{name}.json").write_text(text.replace('},"', '},\n"') + "\n")


def without_segments(found: Mapping) -> dict:
    """Without what only a single model's pictures show."""
    gates = {key: own for key, own in found["gates"].items() if key != "segments"}
    return {**found, "gates": gates, "over_training": {}}


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
    words = ["dtn-jax train", f"--config={spec}", f"--workdir={folder(facts)}"]
    return " ".join([*words, *given])


def folder(facts: Mapping) -> str:
    config = flatten(facts["config"])
    return f"runs/{config['data.dataset']}_{config['model.architecture']}"


def report() -> str:
    files = sorted(KEPT.glob("*.json"))
    if not files:
        raise UserError(f"{KEPT} holds no JSON: give --workdirs=DIR,... or --datasets=NAME,...")
    every = {path.stem: by_seed(json.loads(path.read_text())) for path in files}
    shown = {
        name: {
            picture: f"{name}_{picture}.png"
            for picture in PICTURES
            if (KEPT / f"{name}_{picture}.png").exists()
        }
        for name in every
    }
    return page(every, shown)


def by_seed(kept: dict | list[dict]) -> list[dict]:
    """What is kept of a single model is that model's alone."""
    return kept if isinstance(kept, list) else [kept]


if __name__ == "__main__":
    command.run(main)
