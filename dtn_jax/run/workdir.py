"""A run is its folder: whose it is, what it has logged, and what it found."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shlex
import sys

from ml_collections import ConfigDict

from dtn_jax.config import differing, flatten, identity
from dtn_jax.config.identity import shown
from dtn_jax.errors import disk_errors, told
from dtn_jax.files import TEMPORARY, locked, write_whole
from dtn_jax.parallel import processes
from dtn_jax.places import full_path
from dtn_jax.report import trackers
from dtn_jax.report.versions import versions
from dtn_jax.run import outcome
from dtn_jax.run.outcome import Busy, Unusable
from dtn_jax.run.run import Started
from dtn_jax.schema import Schema

LOCK = "lock"  # the file that the process holds which works in a workdir


class Workdir:
    """Claims a folder for one config on one data set, and writes the run's files into it.

    Until it is closed, or the process ends, no other process can claim the folder.

    With several processes the first one alone writes, and must have claimed the folder before the
    others do.

    Raises:
      Busy: another process works in the folder.
      Unusable: it is another run's, holds other things, is damaged, or cannot be written.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        config: ConfigDict,
        schema: Schema,
        fingerprint: str,
        started: Started | None = None,
        steps: int = 0,
    ):
        self.path = full_path(path)
        self.config, self.trackers, self.lock = config, [], None
        trackers.read_trackers(config.train.trackers)
        check_folder(self.path, config, fingerprint)
        if not processes.is_first():
            return
        facts = {"config": config.to_dict(), "data": fingerprint, "logits": outcome.LOGITS}
        facts |= {"steps": steps, "versions": versions()}
        if sys.argv[0].startswith("dtn-jax ") and config.parallel.processes == "off":
            command = " ".join([sys.argv[0], shlex.join(sys.argv[1:])])
            facts["command"] = re.sub(r"://[^/@\s]*@", "://***@", command)  # no password
        if started:
            facts["started_from"] = dataclasses.asdict(started)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = locked(self.path / LOCK)
        except OSError as error:
            raise Unusable(f"workdir {self.path} cannot be written: {told(error)}") from error
        if not self.lock:
            raise Busy(f"another process works in workdir {self.path}; wait, or name another")
        try:
            check_folder(self.path, config, fingerprint)  # another one may have just left it
            stored = self.path / "config.json"
            if not stored.exists():  # what began the run stays on record
                write_whole(self.path / "schema.json", schema.to_json())
                write_whole(stored, json.dumps(facts, indent=1))
        except BaseException:
            self.close()
            raise

    def finish(self, results: dict) -> None:
        """Writes results.json, and its hash; tells the trackers."""
        if not processes.is_first():
            return
        outcome.write(self.path, results)
        for tracker in self.trackers:
            tracker.log({"kind": "final", "step": results["steps"], **results})

    def resume_log_at(self, step: int) -> None:
        """Drops what was logged after `step`, which will be logged again; at 0: everything."""
        if not processes.is_first():
            return
        kept = [r for r in outcome.read_log(self.path) if step and r["step"] <= step]
        write_whole(self.path / outcome.LOG, "".join(json.dumps(r) + "\n" for r in kept))
        chosen, facts = self.config.train.trackers, flatten(self.config)
        self.trackers = trackers.started(chosen, self.path, facts, step)

    def log(self, record: dict) -> None:
        """Appends a record to metrics.jsonl, and tells the trackers."""
        if not processes.is_first():
            return
        with disk_errors(self.path / outcome.LOG), (self.path / outcome.LOG).open("a") as file:
            file.write(json.dumps(record) + "\n")
        for tracker in self.trackers:
            tracker.log(record)

    def close(self) -> None:
        try:
            for tracker in self.trackers:
                tracker.close()
        finally:
            if self.lock:
                self.lock.close()


def check_folder(path: pathlib.Path, config: ConfigDict, fingerprint: str) -> None:
    """Raises Unusable unless the folder is free, or a run's of this config on these data."""
    if set(str(path)) & set("*?[]"):  # Orbax reads globs
        raise Unusable(f"workdir {path} has one of * ? [ ] in it; give another name")
    if path.exists() and not path.is_dir():
        raise Unusable(f"workdir {path} is a file, expected a folder")
    if (path / "config.json").exists():
        outcome.runs_in(path)  # not beside replicas
        check_owner(path / "config.json", config, fingerprint)
    elif replicas := outcome.replicas_in(path):
        raise Unusable(
            f"workdir {path} holds {len(replicas)} replicas: give --config.replicas to resume them"
        )
    elif path.exists() and not half_claimed({p.name for p in path.iterdir()}):
        raise Unusable(f"workdir {path} is not empty and holds no run; name an empty folder")


def check_owner(stored: pathlib.Path, config: ConfigDict, fingerprint: str) -> None:
    """Raises Unusable unless the stored config has the same identity and data."""
    facts = outcome.run_facts(stored.parent)
    there, here = identity(facts["config"]), identity(config)
    others = differing(there, here)
    if others:
        message = f"workdir {stored.parent} belongs to another config; name another folder."
        raise Unusable(f"{message}\n{shown(others, there, here)}")
    check_data(stored, facts["data"], fingerprint)


def check_data(stored: pathlib.Path, there: str, here: str) -> None:
    """Raises Unusable unless the fingerprints of the data, there and here, are the same."""
    if there != here:
        raise Unusable(
            f"workdir {stored.parent} belongs to another version of the data set: fingerprint "
            f"{there[:12]} there, {here[:12]} now; name another folder"
        )


def half_claimed(names: set[str]) -> bool:
    """Whether these are what a process leaves that died while it claimed a folder, or none."""
    left = {n for n in names if n not in (LOCK, "schema.json") and not n.endswith(TEMPORARY)}
    return not left and (LOCK in names or not names)


def in_use(folder: pathlib.Path) -> bool:
    """Whether a process works in a workdir, as far as its file system tells."""
    if not (folder / LOCK).exists():
        return False
    lock = locked(folder / LOCK)
    if lock:
        lock.close()
    return lock is None
