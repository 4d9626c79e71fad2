"""The last step: the shards and what was fitted become a prepared set, which appears at once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from dtn_jax.datasets.logs.fit import encoders, merge, shards, vocabulary_file
from dtn_jax.datasets.logs.fit.merge import VOCABULARY
from dtn_jax.datasets.logs.rows import kept_events, positives, user_histories
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.days import Days, dated
from dtn_jax.datasets.logs.rows.splits import SPLITS
from dtn_jax.datasets.logs.work_folder import SCHEMA_FILE, Work, whole
from dtn_jax.datasets.logs.write.shard_files import features, file_of
from dtn_jax.datasets.logs.write.tally import Tally
from dtn_jax.datasets.preparation import checked_files, progress
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.field import SEVERAL
from dtn_jax.schema import Schema, Task
from dtn_jax.shared_files import move_aside

VERSION = "1.0.0"
REJECTS = "rejects.jsonl"
ACCOUNT = "account"  # in the notes: lines about what was not taken as it stood
WHERE = f"the first bad rows of each kind are in {REJECTS}, beside the set's files"


def finish(work: Work, target: pathlib.Path, provenance: dict, further: Mapping[str, Any]) -> None:
    """Completes the folder `set` and moves it to `target`.

    Args:
      work: everything in it is done.
      target: the folder of the prepared set; one that is there is moved aside, and kept.
      provenance: what made the set, for prepared.json: `recipe`, `raw_files`, `raw_hashes`; and
        `extends`, the sets that it extends, for its notes.
      further: more for its notes; lines of its ACCOUNT come before those of this log.
    """
    folder, merged = work.folder / "set", work.merged
    layout = Layout(*merged["layout"])
    written, tally = _written(work)
    files = _record_files(work, layout, folder, written)
    _check_sizes(files, work)
    _keep_alone(folder, set(files))
    specs = {field.name: field for field in work.spec.fields}
    vocabulary = work.folder / "merged" / VOCABULARY
    fitted = encoders.fitted(specs, merged["encoders"], vocabulary)
    shutil.copytree(vocabulary, folder / VOCABULARY)
    if work.spec.histories():
        shutil.copy(work.folder / user_histories.FOLDER / kept_events.FILE, folder)
    schema = schema_of(work, fitted)
    (folder / "schema.json").write_text(schema.to_json())
    (folder / "encoders.json").write_text(json.dumps(merged["encoders"], indent=1))
    shutil.copy(work.folder / SCHEMA_FILE, folder / SCHEMA_FILE)
    features(work.spec, fitted, layout.block_rows, work.time_unit).save_config(str(folder))
    (folder / "dataset_info.json").write_text(json.dumps(_dataset_info(work, written), indent=1))
    account, days = totals(work)
    (folder / REJECTS).write_text(account.lines())
    counts = positives.total(work)
    seen = [*further.get(ACCOUNT, []), *positives.lines(work.spec, counts), *_sampling(work)]
    seen += [*_nothing_to_learn(work, days), *_cut(work, tally)]
    for line in seen:  # the account of bad rows was told before pass 2
        progress.say(line)
    notes = {**further, **_notes(work, account, days, seen), positives.NOTE: counts}
    if extends := provenance.get("extends"):
        notes["extends"] = {"sets": extends, "ids": merged["ids"]}
    (folder / "notes.json").write_text(json.dumps(notes, indent=1))
    kept = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != REJECTS]
    kept = [p for p in kept if p.name not in ("schema.json", "notes.json", "dataset_info.json")]
    prepared = {
        "fingerprint": _fingerprint(folder, work, written),
        **provenance,
        checked_files.SEALED: True,
        "layout": dataclasses.asdict(layout),
        "rows": merged["rows"],
        "unknown_values": tally.unknown,
        "kept_values": tally.seen,
        "missing_labels": tally.missing,
        "files": {str(p.relative_to(folder)): p.stat().st_size for p in kept},
    }
    if bags := [field.name for field in work.spec.fields if field.kind in SEVERAL]:
        prepared["cut_values"] = {s: {n: tally.cut[s][n] for n in bags} for s in SPLITS}
    if hashed := {f.name: f.functions for f in work.spec.fields if f.encoder == "hash"}:
        prepared["hash_functions"] = hashed
    (folder / "prepared.json").write_text(json.dumps(prepared, indent=1))
    checked_files.seal(folder, leave_out=[REJECTS])
    if target.exists():
        kept = move_aside(target, target.parent / "replaced", target.name)
        progress.say(f"the set that was there is now in {kept}")
    folder.rename(target)


def schema_of(work: Work, fitted: dict[str, encoders.Fitted]) -> Schema:
    """The schema of the prepared set."""
    spec = work.spec
    tasks = tuple(Task(t.name, t.kind, t.space, t.also_report, t.upstream) for t in spec.tasks)
    weight = spec.weight or ("sample_weight" if spec.sample_negatives else "")
    fields = tuple(found.field() for found in fitted.values())
    day = spec.time if dated(spec, work.time_unit) else ""
    return Schema(spec.name, fields, tasks, weight, spec.group, day, spec.loss_weight)


def totals(work: Work) -> tuple[Account, Days]:
    """The account of bad rows of all units, and the rates by day."""
    account, days = Account(), Days(work.spec, work.time_unit)
    for unit in range(len(work.units)):
        account.include(Account.from_json(work.fitted(unit, "rejects")))
        days.include(work.fitted(unit, "days"))
    return account, days


def _written(work: Work) -> tuple[list[dict], Tally]:
    """What each shard wrote, and the counts of all."""
    found = [work.written(shard) for shard in range(len(work.merged["shards"]) - 1)]
    tally = Tally.of(work.merged["encoders"], [task.name for task in work.spec.tasks])
    for facts in found:
        tally.include(facts)
    return [facts["written"] for facts in found], tally


def _record_files(
    work: Work, layout: Layout, folder: pathlib.Path, written: list[dict]
) -> dict[pathlib.Path, tuple[int, int]]:
    """{file: its shard, its bytes}."""
    counts, firsts = np.array(work.merged["counts"]), work.merged["shards"]
    return {
        file_of(folder, split, shards.parts(layout, counts, firsts, shard)[split]): (
            shard,
            facts["size"],
        )
        for shard, by_split in enumerate(written)
        for split, facts in by_split.items()
    }


def _check_sizes(files: dict[pathlib.Path, tuple[int, int]], work: Work) -> None:
    """Raises UserError where a file is not as long as it was written, as after a power cut."""
    for path, (shard, size) in files.items():
        with whole(path, work.of("encode", shard)):
            if (now := path.stat().st_size) != size:
                raise ValueError(f"{now:,} bytes, expected {size:,}")


def _keep_alone(folder: pathlib.Path, wanted: set[pathlib.Path]) -> None:
    """Removes what a killed process has left beside the files of the set."""
    for path in folder.iterdir():
        if path not in wanted:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _dataset_info(work: Work, written: list[dict]) -> dict:
    """What TFDS reads the set by."""
    splits = []
    for split in SPLITS:
        own = [by_split[split] for by_split in written if split in by_split]
        splits.append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": str(sum(found["bytes"] for found in own)),
                "shardLengths": [str(found["records"]) for found in own],
            }
        )
    return {
        "name": "logs",
        "version": VERSION,
        "configName": work.spec.name,
        "description": work.spec.about.get("description", f"The logs of {work.spec.name}."),
        "fileFormat": "array_record",
        "disableShuffling": True,
        "splits": splits,
    }


def _notes(work: Work, account: Account, days: Days, seen: list[str]) -> dict:
    lines = [*account.summary(), *seen]
    if account.kept:
        lines.append(WHERE)
    notes = {
        "about": dict(work.spec.about),
        "rejected": account.counts,
        "read": account.rows,
        "days": days.to_json(),
        "time_unit": work.time_unit,
        "cuts": work.cuts,
        "sample_negatives": dict(work.spec.sample_negatives),
    }
    return notes | ({ACCOUNT: lines} if lines else {})


def _nothing_to_learn(work: Work, days: Days) -> list[str]:
    """A line for each task whose label is known nowhere, or is the same everywhere."""
    lines = []
    for task in work.spec.tasks:
        known, total = days.total(f"{task.name}@{task.space}")
        if not known:
            lines.append(f"task {task.name!r}: its label is known in no row of {task.space!r}")
        elif task.kind == "binary" and total in (0, known):
            value = "negative" if total == 0 else "positive"
            many = f"{known:,} " if isinstance(known, int) else ""  # else it is a sum of weights
            lines.append(f"task {task.name!r}: all {many}known labels are {value}")
    return lines


def _cut(work: Work, tally: Tally) -> list[str]:
    """A line for each bag of train whose lists are longer than what it keeps."""
    lines = []
    for field in work.spec.fields:
        cut, kept = (counts["train"][field.name] for counts in (tally.cut, tally.seen))
        if cut and not field.beside:
            last = "; a history that ascends in time may want keep: last"
            lines.append(
                f"{field.name}: {progress.percent(cut, cut + kept)} of train's values are beyond "
                f"max_values={field.max_values}; the {field.keep} ones of each list are kept"
                f"{last if field.keep == 'first' else ''}"
            )
    return lines


def _sampling(work: Work) -> list[str]:
    if not work.spec.sample_negatives:
        return []
    before, after = work.merged["every"][0], work.merged["rows"]["train"]
    rates = ", ".join(f"{task} at {rate:g}" for task, rate in work.spec.sample_negatives.items())
    return [
        f"negatives sampled ({rates}): {after:,} of {before:,} train rows are kept; their weights "
        "make up for the others, so that probabilities are those of the whole log"
    ]


def _fingerprint(folder: pathlib.Path, work: Work, written: list[dict]) -> str:
    """SHA-256 of schema, encoders, vocabularies and all rows."""
    digest = hashlib.sha256()
    for name in ("schema.json", "encoders.json"):
        digest.update((folder / name).read_bytes())
    for table in merge.tables(work):
        with vocabulary_file.path_of(folder / VOCABULARY, table).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    for split in SPLITS:
        for by_split in written:
            if split in by_split:
                digest.update(by_split[split]["sha256"].encode())
    return digest.hexdigest()
