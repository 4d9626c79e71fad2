"""What a finished run found: results.json and its scores of two splits, with their checksums."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping

from dtn_jax import checksums
from dtn_jax.parallel import processes
from dtn_jax.shared_files import replacing, write_whole
from dtn_jax.workdir.faults import Unusable

RESULTS, PREDICTIONS = "results.json", "predictions.parquet"
VALIDATION = "validation.parquet"
SCORED = {PREDICTIONS: "test", VALIDATION: "validation"}  # by the state that the run reports
SPLITS = ("validation", "test", "test_per_task_best")  # {task@space: {metric: value}} of results
PARTS = {"validation": dict, "best_steps": dict, "steps": int, "architecture": str, "experts": str}
PARTS |= {"dataset": str, "parameters": int, "flops_per_example": int}


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


def write(folder: pathlib.Path, results: dict) -> None:
    """Writes results.json, and the checksums of it and the scores."""
    with replacing(folder / RESULTS) as temporary:
        write_whole(temporary, json.dumps(results, indent=1))
        seal(folder, {RESULTS: temporary})


def seal(folder: pathlib.Path, other: Mapping[str, pathlib.Path] | None = None) -> None:
    """Writes the checksums of what the run found; `other` is where some of it is as yet."""
    own = {name: folder / name for name in (RESULTS, *SCORED)}
    own = {name: path for name, path in own.items() if path.exists()} | dict(other or {})
    checksums.write(folder, own)


def lost_scores(folder: pathlib.Path, name: str) -> str:
    """What is wrong with a finished run's file of SCORED; '' if nothing, as far as one can tell.

    The first process looks, and tells the others.
    """

    def look() -> str:
        if (folder / name).is_dir():
            return f"{folder / name} is a folder"
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        known = checksums.are_there(folder)
        problem = checksums.damage(folder, [name]) if known else ""
        return problem and f"{folder}/{problem}"

    return processes.told_by_first(look)


def read(folder: pathlib.Path) -> dict | None:
    """What the run in a folder found; None where it is not finished.

    Raises:
      Unusable: results.json is damaged, or was changed since the run wrote it.
    """
    path, why = folder / RESULTS, ""
    try:
        found = json.loads(path.read_text())
        steps = [int(step) for step in found["best_steps"].values()]
        whole = steps and all(isinstance(found[key], kind) for key, kind in PARTS.items())
        parts = [m for split in found.keys() & {*SPLITS} for m in found[split].values()]
        why = "" if whole and all(isinstance(m, dict) for m in parts) else "a part has another type"
    except FileNotFoundError:
        return None
    except KeyError as error:
        why = f"it lacks {error}"
    except checksums.UNREADABLE as error:
        why = str(error)
    anew = "delete it, and the same command makes it anew from the run's states"
    if why:
        raise Unusable(f"{path} is damaged ({why}); {anew}")
    known = checksums.are_there(folder)
    if problem := checksums.damage(folder, [RESULTS]) if known else "":
        raise Unusable(f"{folder}/{problem}; bring it back from a copy, or {anew}")
    return found
