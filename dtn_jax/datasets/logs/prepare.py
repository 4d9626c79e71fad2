"""A log of any size to a prepared data set: `prepare` reads like the table of contents."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dtn_jax.datasets.logs.fit import merge
from dtn_jax.datasets.logs.formula import times
from dtn_jax.datasets.logs.limits import check_kept, check_positives, check_rejects
from dtn_jax.datasets.logs.rows import cuts, user_histories, user_order
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.datasets.logs.work import extended, provenance, stages
from dtn_jax.datasets.logs.work.begin import begun, raw_log, remove_unfinished, told
from dtn_jax.datasets.logs.work.machines import Machine
from dtn_jax.datasets.logs.work.team import Team
from dtn_jax.datasets.logs.work_folder import Work, new_folder, whole
from dtn_jax.datasets.logs.write import finish_set
from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.prepared import Prepared, read
from dtn_jax.errors import UserError
from dtn_jax.shared_files import write_whole

MAX_REJECT_RATE = 0.001
MEMORY_GB = 4.0


def prepare(
    schema: str | pathlib.Path | Spec,
    input: str | Sequence[str] | object,
    data_dir: str | pathlib.Path,
    *,
    processes: int = 0,
    memory_gb: float = MEMORY_GB,
    max_reject_rate: float = MAX_REJECT_RATE,
    machine: Machine = (0, 1),
    replace: bool = False,
    beam: str = "",
    source: str = "",
    home: pathlib.Path | None = None,
    made_of: Mapping[str, Mapping] | None = None,
    extend: str | pathlib.Path = "",
    layout: Layout | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Prepared:
    """Prepares a log, or resumes where it was interrupted; a set that is there already is returned.

    The bytes of the set depend on the schema file and the raw files alone, not on the processes,
    the machines, the memory, or how often the work was interrupted.

    Args:
      schema: the schema file, or what it says.
      input: a file, glob or folder, or several of them; or a Polars, pandas or Arrow table.
      data_dir: the set will be in `data_dir/logs/NAME/1.0.0`.
      processes: how many work at a time; 0 is one a core, as far as memory goes. They import the
        script that calls this, which needs `if __name__ == "__main__":` then.
      memory_gb: gigabytes that all of them together may need, pages of mapped files aside.
      max_reject_rate: the share of bad rows above which nothing is written.
      machine: (place, count) where several machines, which share `data_dir`, run the same call.
      replace: a set that was made from something else is moved to `data_dir/logs/NAME/replaced`.
      beam: pipeline options of Apache Beam, which then does the work; '' is processes here.
      source: SHA-256 of the plug-in that the schema file came with.
      home: the set will be in `home/1.0.0` instead.
      made_of: what the set keeps of the raw files, as of `provenance.raw_facts`; None: the input's
        addresses, sizes and ends.
      extend: a prepared set, its folder or its name in `data_dir`, whose encoders this set takes:
        known ids keep their rows, ids that are new to it come after them, and ids that have fallen
        out keep theirs; buckets, bins, scales and hash functions are the same. The schema file has
        the same fields and tasks, and another name.
      layout: how rows lie in records; None: as `blocks.default_layout` has it for their number.
      notes: further facts for the set's notes.json, as JSON has them.

    Raises:
      UserError: the schema file or the raw files are wrong, too many rows are, too many positives
        lie where their task is taken not to happen, a split is empty, a set is there that was made
        from something else, or the set to extend is none or has other fields or tasks, or events
        that histories would list twice.
    """
    if not 0 <= max_reject_rate <= 1:
        raise UserError(f"--max_reject_rate={max_reject_rate:g}: expected a share, from 0 to 1")
    spec = schema if isinstance(schema, Spec) else schema_file.load(pathlib.Path(schema))
    home = home or place(spec, data_dir).parent
    older = extended.find(extend, data_dir, spec, home) if extend else None
    with told(spec, home), raw_log(input, spec, home) as files:
        raw = provenance.raw_facts(files)
        made_from = provenance.made_from(spec, source, made_of or raw, older)
        if older:
            extended.check_events(older, spec, raw)
        target = home / finish_set.VERSION
        if target.exists():
            old = read(target)
            changed = provenance.change(old, spec, made_from)
            if not changed:
                remove_unfinished(home)
                return check_kept(old, spec, max_reject_rate)
            if not replace:
                raise UserError(
                    f"{target} was prepared from {changed}. Give --replace to prepare it again "
                    "(the old set is kept beside it), another name in the schema file, or another "
                    "--data_dir"
                )
        settings = (machine, memory_gb, processes, beam, older and older.folder)
        with begun(spec, files, home, made_from, *settings) as (job, team):
            if is_made_from(target, spec, made_from):  # by a command that has just ended
                return check_kept(read(target), spec, max_reject_rate)
            cut_times(job, team)
            if older and (seen := extended.seen_again(older, spec, raw, job.cuts)):
                progress.say(seen)
            build_histories(job, team)
            team.stage(job, "fit", range(len(job.units)), "pass 1 of 2: fit")
            check_rejects(job, home, max_reject_rate)
            check_positives(job, spec)
            merge_statistics(job, team, layout)
            count = len(job.merged["shards"]) - 1
            team.stage(job, "encode", range(count), "pass 2 of 2: write")
            if team.is_first:
                provenance.check_unchanged(files, raw)
                finish_set.finish(job, target, made_from, notes or {})
        if not team.is_first:
            done = functools.partial(is_made_from, target, spec, made_from)
            team.machines.wait(lambda: "" if done() else f"{team.machines.name(0)} to finish")
    return read(target)


def place(spec: Spec, data_dir: str | pathlib.Path) -> pathlib.Path:
    """The folder of a log's prepared set."""
    root = pathlib.Path(data_dir).expanduser().absolute()
    return root / "logs" / spec.name / finish_set.VERSION


def is_made_from(target: pathlib.Path, spec: Spec, made_from: dict) -> bool:
    """Whether a set is there that was made so."""
    return target.exists() and not provenance.change(read(target), spec, made_from)


def cut_times(job: Work, team: Team) -> None:
    """Finds where the splits are cut, where only the whole log says it."""
    spec, units = job.spec, range(len(job.units))
    if spec.split.by == "user_order":
        team.stage(job, "order", units, "order of users' rows")
        target = job.folder / "ordered"
        team.first_alone(functools.partial(_decide, job, target), target)
    if spec.split.by != "time":
        return
    path = job.folder / "cuts.json"
    if not all(isinstance(share, str) for share in (spec.split.validation, spec.split.test)):
        team.stage(job, "times", units, "times")
    team.first_alone(lambda: write_whole(path, json.dumps(_cuts(job))), path)
    if job.cuts["validation"] == job.cuts["test"]:
        return  # no time parses, of which pass 1 gives an account
    shown = {name: times.show(value, job.time_unit) for name, value in job.cuts.items()}
    progress.say(f"split by time: validation from {shown['validation']}, test from {shown['test']}")


def build_histories(job: Work, team: Team) -> None:
    """Finds what each row's histories list, where they are made from the log's own rows."""
    if not job.spec.histories():
        return
    team.stage(job, "events", range(len(job.units)), "events of histories")
    target = job.folder / user_histories.FOLDER
    team.first_alone(functools.partial(user_histories.build, job, target), target)


def _decide(job: Work, target: pathlib.Path) -> None:
    with new_folder(target) as folder:
        user_order.decide(job, folder)


def _cuts(job: Work) -> dict[str, int]:
    paths = [job.of("times", unit) for unit in range(len(job.units))]
    counted = [path for path in paths if path.exists()]
    every = cuts.joined(map(_counts, counted), job.time_unit)  # one unit's in memory at a time
    if counted and not len(every[0]):
        return {"validation": 0, "test": 0}
    found = cuts.cut(job.spec.split, every, job.time_unit)
    if told := cuts.far_off(job.spec.split, every, found, job.time_unit):
        progress.say(told)
    return found


def _counts(path: pathlib.Path) -> cuts.Histogram:
    with whole(path):
        times, rows = np.load(path)
        return times, rows


def merge_statistics(job: Work, team: Team, layout: Layout | None = None) -> None:
    """Fits vocabularies, buckets and scales, and decides the layout and the shards."""
    target = job.folder / "merged"
    team.first_alone(functools.partial(_merge, job, team, target, layout), target)


def _merge(job: Work, team: Team, target: pathlib.Path, layout: Layout | None) -> None:
    with new_folder(target) as folder:
        vocabulary = folder / merge.VOCABULARY
        vocabulary.mkdir()
        tasks = [("table", table) for table in merge.tables(job)]
        if job.extends is None:
            fitted = [f.name for f in job.spec.fields if f.encoder == "buckets" or f.bins]
            tasks += [("numbers", name) for name in fitted]
        tasks = [(job.folder, job.memory, kind, name, vocabulary) for kind, name in tasks]
        done = team.run(job, stages.do_merge, tasks)
        every: dict[str, dict[str, dict]] = {"table": {}, "numbers": {}}
        done = team.bars.count(done, "merge", len(tasks), rows=lambda _: 1, unit="tables")
        for kind, name, found in done:
            every[kind][name] = found
        merge.finish(job, vocabulary, every["numbers"], every["table"], layout)
        (vocabulary / "merged.json").rename(folder / "merged.json")
