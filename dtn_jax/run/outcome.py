"""What began a run, and what it found: config.json, results.json, and its scores of two splits."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping

from dtn_jax.errors import UserError
from dtn_jax.files import HASHES, Damaged, damage, hashes, read_json, replacing, write_whole
from dtn_jax.parallel import processes

LOGITS = "log-odds"  # what a model's logits are: config.json of this version says so
RESULTS, PREDICTIONS = "results.json", "predictions.parquet"
VALIDATION = "validation.parquet"
SCORED = {PREDICTIONS: "test", VALIDATION: "validation"}  # by the state that the run reports
SPLITS = ("validation", "test", "test_per_task_best")  # {task@space: {metric: value}} of results


class Busy(UserError):
    """Another process works in the folder."""


class Unusable(UserError):
    """The folder is another run's, holds other things, is damaged, or cannot be written."""


def replicas_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders of the replicas in a folder: replica_0, replica_1 and so on."""
    every = [path.parent for path in folder.glob("replica_*/config.json")]
    replicas = [path for path in every if re.fullmatch(r"replica_\d+", path.name)]
    return sorted(replicas, key=lambda path: int(path.name.partition("_")[2]))


def runs_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The run's own folder, or those of its replicas.

    Raises:
      Unusable: the folder holds both, so that which of them is meant is not known.
    """
    replicas = replicas_in(folder)
    if (folder / "config.json").exists() and replicas:
        raise Unusable(
            f"{folder} holds a single run and {len(replicas)} replicas; name the replicas, "
            f"{','.join(map(str, replicas))}, or move them to a folder of their own"
        )
    return replicas or [folder]


def run_facts(folder: pathlib.Path) -> dict:
    """What began the run in a folder, as config.json keeps it: `config`, nested; the `data` set's
    fingerprint; `versions`; and `started_from`, where it did.

    Raises:
      Unusable: config.json is damaged, or an unreleased version wrote it.
    """
    path = folder / "config.json"
    try:
        facts = read_json(path, "name another folder", _facts)
    except Damaged as error:
        raise Unusable(str(error)) from None
    if facts.get("logits") != LOGITS:
        raise Unusable(f"{path} is of an unreleased version; train again in another folder")
    return facts


def _facts(facts: dict) -> dict:
    return facts | {"config": dict(facts["config"]), "data": str(facts["data"])}


def write(folder: pathlib.Path, results: dict) -> None:
    """Writes results.json, and the SHA-256 of it and the scores."""
    with replacing(folder / RESULTS) as temporary:
        write_whole(temporary, json.dumps(results, indent=1))
        seal(folder, {RESULTS: temporary})


def seal(folder: pathlib.Path, other: Mapping[str, pathlib.Path] | None = None) -> None:
    """Writes the SHA-256 of what the run found; `other` is where some of it is as yet."""
    files = {name: folder / name for name in (RESULTS, *SCORED)}
    files = {name: path for name, path in files.items() if path.exists()} | dict(other or {})
    write_whole(folder / HASHES, json.dumps(hashes(files), indent=1))


def lost_scores(folder: pathlib.Path, name: str) -> str:
    """What is wrong with a finished run's file of SCORED; '' if nothing, as far as one can tell.

    The first process looks, and tells the others.
    """

    def look() -> str:
        if (folder / name).is_dir():
            return f"{folder / name} is a folder"
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        problem = _damage(folder, name)
        return problem and f"{folder}/{problem}"

    return processes.told_by_first(look)


def read(folder: pathlib.Path) -> dict | None:
    """What the run in a folder found; None where it is not finished.

    Raises:
      Unusable: results.json is damaged, or was changed since the run wrote it.
    """
    path = folder / RESULTS
    anew = "delete it, and the same command makes it anew from the run's states"
    if not path.exists():
        return None
    try:
        results = read_json(path, anew)
    except Damaged as error:
        raise Unusable(str(error)) from None
    if problem := _damage(folder, RESULTS):
        raise Unusable(f"{folder}/{problem}; bring it back from a copy, or {anew}")
    return results


def _damage(folder: pathlib.Path, name: str) -> str:
    """What is wrong with a file of a run; '' also where the run has no hashes."""
    return damage(folder, only=[name]) if (folder / HASHES).exists() else ""
