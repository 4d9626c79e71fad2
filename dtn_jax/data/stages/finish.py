"""The last step: the records and what was fitted become a prepared set, which appears at once."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence

from dtn_jax.data import columns, encode, equal_rows, progress, vocabulary
from dtn_jax.data.prepared import seal
from dtn_jax.data.stages import fit, histories, limits
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import Counts, added, days_to_json, far
from dtn_jax.data.stages.limits import REJECTS
from dtn_jax.data.stages.records import Plan
from dtn_jax.data.stages.split import SPLITS
from dtn_jax.data.stages.units import HASHES
from dtn_jax.data.stages.work import SCHEMA_FILE, Work
from dtn_jax.field import SEVERAL
from dtn_jax.files import TEMPORARY
from dtn_jax.schema import Column, Schema, Task

ACCOUNT = "account"  # in the notes: lines about what was not taken as it stood


def finish(
    work: Work,
    target: pathlib.Path,
    provenance: Mapping,
    plan: Plan,
    cuts: Mapping,
    account: Account,
    counts: Counts,
    written: Sequence[Mapping],
    further: Mapping,
) -> None:
    """Completes the folder `set` and moves it to `target`.

    Args:
      work: everything in it is done.
      target: the folder of the prepared set; one that is there is moved aside, and kept.
      provenance: what made the set, for prepared.json: `recipe`, `raw_files`, `raw_hashes`; and
        `extends`, the sets that it extends, for its notes.
      plan: what was written.
      cuts: of a split by time.
      account: of bad rows.
      counts: of the clean rows: `days` and `positives`, as of `units.clean_unit`.
      written: of each shard, as of `units.write_shard`.
      further: more for its notes; lines of its ACCOUNT come before those of this log.
    """
    folder, spec = work.folder / "set", work.spec
    values = functools.reduce(added, (shard["values"] for shard in written))
    for path in folder.glob(f"*{TEMPORARY}"):  # of a process that was killed
        path.unlink()
    specs = {field.name: field for field in spec.fields}
    vocabularies = work.folder / vocabulary.FOLDER
    schema = schema_of(work, encode.fitted(specs, plan.encoders, vocabularies))
    shutil.copytree(vocabularies, folder / vocabulary.FOLDER, dirs_exist_ok=True)
    if spec.histories():
        shutil.copy(work.folder / histories.FOLDER / histories.EVENTS, folder)
    shutil.copy(work.folder / SCHEMA_FILE, folder / SCHEMA_FILE)
    (folder / REJECTS).write_text(account.lines())
    seen = [
        *further.get(ACCOUNT, []),
        *limits.lines(spec, counts["positives"]),
        *(far(spec.time, counts["days"]["rows"]) if work.dated else ()),
        *_equal_rows(work, plan),
    ]
    for line in seen:  # the account of bad rows was told before
        progress.say(line)
    lines = [*account.summary(), *seen, *([limits.WHERE] if account.kept else ())]
    extended = {}
    if sets := provenance.get("extends"):
        ids = {table: {n: known[n] for n in vocabulary.FACTS} for table, known in plan.ids.items()}
        extended = {"extends": {"sets": sets, "ids": ids}}
    notes = {
        **further,
        "about": dict(spec.about),
        "rejected": account.counts,
        "read": account.rows,
        "days": days_to_json(work.dated, counts["days"]),
        "time_unit": work.spec.time_unit,
        "cuts": dict(cuts),
        "sample_negatives": dict(spec.sample_negatives),
        **({ACCOUNT: lines} if lines else {}),
        limits.NOTE: counts["positives"],
        **extended,
    }
    every = {"unknown_values": "unknown", "kept_values": "seen"}
    bags = [field.name for field in spec.fields if field.kind in SEVERAL]
    (folder / "schema.json").write_text(schema.to_json())
    (folder / "encoders.json").write_text(json.dumps(plan.encoders, indent=1))
    (folder / "notes.json").write_text(json.dumps(notes, indent=1))
    prepared = {
        "fingerprint": _fingerprint(folder, schema, work, written),
        **provenance,
        "layout": dataclasses.asdict(plan.layout),
        "rows": plan.rows,
        **{name: {split: values[split][key] for split in SPLITS} for name, key in every.items()},
        "cut_values": {s: {n: values[s]["cut"][n] for n in bags} for s in SPLITS if bags},
        "hash_functions": {f.name: f.functions for f in spec.fields if f.encoder == "hash"},
    }
    (folder / "prepared.json").write_text(json.dumps(prepared, indent=1))
    seal(folder, leave_out=[REJECTS])
    if target.exists():
        place, copies = target.parent / "replaced", 1
        moved = place / target.name
        while moved.exists():
            copies += 1
            moved = place / f"{target.name}.{copies}"
        place.mkdir(exist_ok=True)
        target.rename(moved)
        progress.say(f"the set that was there is now in {moved}")
    folder.rename(target)


def schema_of(work: Work, fitted: Mapping[str, encode.Fitted]) -> Schema:
    """The schema of the prepared set."""
    spec = work.spec
    tasks = tuple(Task(t.name, t.kind, t.space, t.also_report, t.upstream) for t in spec.tasks)
    weight = spec.weight or ("sample_weight" if spec.sample_negatives else "")
    fields = tuple(field.field() for field in fitted.values())
    day = spec.time if work.dated else ""
    lacking = columns.may_lack(spec)
    raw = tuple(
        Column(name, columns.name_of(kind), name in lacking, spec.time_unit * (name == spec.time))
        for name, kind in work.types.items()
    )
    return Schema(spec.name, fields, tasks, weight, spec.group, day, spec.loss_weight, raw)


def _equal_rows(work: Work, plan: Plan) -> list[str]:
    """A line where many rows of a split are equal to rows of train."""
    if work.spec.split.by == "time":  # copies of a row stay together
        return []
    query = f"SELECT hash FROM {HASHES} WHERE split = {{}}"
    hashes = {s: work.query(query.format(n), "hash")["hash"] for n, s in enumerate(SPLITS)}
    about = sum(plan.rows.values()) > equal_rows.MOST
    line = equal_rows.line(equal_rows.shares(hashes), plan.rows, about)
    return [line] if line else []


def _fingerprint(
    folder: pathlib.Path, schema: Schema, work: Work, written: Sequence[Mapping]
) -> str:
    """SHA-256 of fields, tasks, encoders, vocabularies and all rows; not of raw columns' types, nor
    of roles."""
    rows_of = dataclasses.replace(schema, columns=()).with_roles({})
    digest = hashlib.sha256(rows_of.to_json().encode())
    digest.update((folder / "encoders.json").read_bytes())
    for table in fit.id_tables(work.spec):
        with vocabulary.path_of(folder / vocabulary.FOLDER, table).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for split in SPLITS:
        for shard in written:
            digest.update(shard["hashes"].get(split, "").encode())
    return digest.hexdigest()
