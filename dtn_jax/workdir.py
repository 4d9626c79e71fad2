"""A run is its folder: whose it is, what it has logged, and what it found."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform

from ml_collections import ConfigDict
from tensorboardX import SummaryWriter

from dtn_jax import options, processes
from dtn_jax.schema import Schema, UserError

SHOWN = 8  # options that differ, in the message that a folder belongs to another config
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Of Python and of what computes."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


class Workdir:
    """Claims a folder for one config on one data set, and writes the run's files into it.

    With several processes the first one alone writes, and must have claimed the folder before the
    others do.

    Raises:
      UserError: the folder belongs to another config or data set, holds other things, or cannot
        be written.
    """

    def __init__(
        self, path: str | pathlib.Path, config: ConfigDict, schema: Schema, fingerprint: str
    ):
        self.path = pathlib.Path(path).expanduser().absolute()
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"workdir {self.path} is a file, expected a folder")
        stored = self.path / "config.json"
        if stored.exists():
            check_owner(stored, config, fingerprint)
        elif self.path.exists() and any(self.path.iterdir()):
            raise UserError(
                f"workdir {self.path} is not empty and holds no run (no config.json); "
                "name a new or an empty folder"
            )
        self.writer = None
        if not processes.is_first():
            return
        facts = {"config": config.to_dict(), "data": fingerprint, "versions": versions()}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not stored.exists():  # what began the run stays on record
                write_whole(self.path / "schema.json", schema.to_json())
                write_whole(stored, json.dumps(facts, indent=1))
        except OSError as error:
            raise UserError(f"workdir {self.path} cannot be written: {error.strerror}") from error

    def results(self) -> dict | None:
        """What a finished run found."""
        path = self.path / "results.json"
        try:
            return json.loads(path.read_text()) if path.exists() else None
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); delete it to make it anew") from None

    def finish(self, results: dict) -> None:
        if not processes.is_first():
            return
        write_whole(self.path / "results.json", json.dumps(results, indent=1))

    def resume_log_at(self, step: int) -> None:
        """Drops what was logged after `step`, which will be logged again."""
        if not processes.is_first():
            return
        kept = [r for r in self.history() if r["step"] <= step]
        text = "".join(json.dumps(r) + "\n" for r in kept)
        write_whole(self.path / "metrics.jsonl", text)
        self.writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=step + 1)

    def log(self, record: dict) -> None:
        """Appends a record to metrics.jsonl and its numbers to the TensorBoard events."""
        if not processes.is_first():
            return
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            if name not in ("kind", "step", "epoch") and value is not None:
                self.writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])

    def history(self) -> list[dict]:
        """The records of metrics.jsonl; a last line cut short by a crash is left out."""
        path = self.path / "metrics.jsonl"
        records = []
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                records.append(json.loads(line))
            except ValueError:
                break
        return records

    def close(self) -> None:
        if self.writer:
            self.writer.close()


def check_owner(stored: pathlib.Path, config: ConfigDict, fingerprint: str) -> None:
    """Raises UserError unless the stored config has the same identity and data."""
    try:
        facts = json.loads(stored.read_text())
        there, data = options.identity(facts["config"]), str(facts["data"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{stored} is damaged ({type(error).__name__}: {error}), so whose folder it is cannot "
            "be told; name another folder"
        ) from error
    there = {k: repr(v) for k, v in there.items()}
    here = {k: repr(v) for k, v in options.identity(config).items()}
    differing = [k for k in {**there, **here} if there.get(k) != here.get(k)]
    if differing:
        lines = [
            f"  {k}: {there.get(k, 'absent')} there, {here.get(k, 'absent')} now"
            for k in differing[:SHOWN]
        ]
        if len(differing) > SHOWN:
            lines.append(f"  and {len(differing) - SHOWN} more")
        message = f"workdir {stored.parent} belongs to another config; name another folder."
        raise UserError("\n".join([message, *lines]))
    check_data(stored, data, fingerprint)


def check_data(stored: pathlib.Path, there: str, here: str) -> None:
    """Raises UserError unless the fingerprints of the data, there and here, are the same."""
    if there != here:
        raise UserError(
            f"workdir {stored.parent} belongs to another version of the data set: fingerprint "
            f"{there[:12]} there, {here[:12]} now; name another folder"
        )


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that it is whole or as it was before, whatever other processes write."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)
