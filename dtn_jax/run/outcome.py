"""What began a run, what it logged and what it found: config.json, metrics.jsonl, results.json, and
its scores of two splits. Nothing here takes time to import: commands look before they load."""

from __future__ import annotations

import json
import pathlib
import re

from dtn_jax.errors import RETRAIN, UserError
from dtn_jax.files import HASHES, damage, hashes, read_json, replacing, write_whole

LOGITS = "log-odds"  # what a model's logits are: config.json of this version says so
RESULTS, PREDICTIONS = "results.json", "predictions.parquet"
LOG = "metrics.jsonl"  # a record a line
VALIDATION = "validation.parquet"  # scores by the state that the run reports, as PREDICTIONS


class Busy(UserError):
    """Another process works in the folder."""


class Unusable(UserError):
    """The folder is another run's, holds other things, or cannot be written."""


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
        named = ",".join(map(str, replicas))
        raise Unusable(f"{folder} holds a single run and {len(replicas)} replicas; name {named}")
    return replicas or [folder]


def check_finished(folder: pathlib.Path) -> None:
    """Raises UserError where the run in a folder is not finished: it says at which step the run is,
    and the command that resumes it."""
    if (folder / RESULTS).exists():
        return
    facts, log = run_facts(folder), read_log(folder)
    step, last = log[-1]["step"] if log else 0, facts.get("steps", "?")
    resume = f"resume it by\n  {facts['command']}" if facts.get("command") else "resume it first"
    raise UserError(
        f"the run in {folder} is not finished: it logged step {step} of {last}, and has no "
        f"{RESULTS}; {resume}"
    )


def run_facts(folder: pathlib.Path) -> dict:
    """What began the run in a folder, as config.json keeps it: `config`, nested; the `data` set's
    fingerprint; its `steps`; the `command`, unless Python called; `versions`; and `started_from`,
    where it did.

    Raises:
      UserError: config.json is damaged.
      Unusable: an unreleased version wrote it.
    """
    path = folder / "config.json"
    facts = read_json(path, "name another folder", _facts)
    if facts.get("logits") != LOGITS:
        raise Unusable(f"{path} is of an unreleased version; train again in another folder")
    return facts


def _facts(facts: dict) -> dict:
    return facts | {"config": dict(facts["config"]), "data": str(facts["data"])}


def write(folder: pathlib.Path, results: dict) -> None:
    """Writes results.json, and the SHA-256 of it, before it takes its place."""
    with replacing(folder / RESULTS) as temporary:
        write_whole(temporary, json.dumps(results, indent=1))
        write_whole(folder / HASHES, json.dumps(hashes({RESULTS: temporary}), indent=1))


def read(folder: pathlib.Path) -> dict | None:
    """What the run in a folder found; None where it is not finished.

    Raises:
      UserError: results.json is damaged, or was changed since the run wrote it.
    """
    if not (folder / RESULTS).exists():
        return None
    results = read_json(folder / RESULTS, RETRAIN)
    if problem := (folder / HASHES).exists() and damage(folder):
        raise UserError(f"{folder}/{problem}; bring it back from a copy, or {RETRAIN}")
    return results


def read_log(folder: pathlib.Path) -> list[dict]:
    """The records of the run in a folder, {"kind": text, "step": …, "epoch": …, NAME: a number or
    None} each; none where there is no log. A last line that a crash cut short is left out.

    Raises:
      UserError: names a line that is no record.
    """
    path = folder / LOG
    *lines, _ = path.read_bytes().split(b"\n") if path.exists() else [b""]
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
            _ = [records[-1][key] for key in ("kind", "step", "epoch")]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path}, line {number}: no record can be read; delete the line, which only the "
                "curves then lack"
            ) from None
    return records
