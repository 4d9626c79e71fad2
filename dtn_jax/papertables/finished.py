"""The finished runs of paper tables, for the commands that look at their models."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, compile_cache, folders
from dtn_jax.errors import UserError, choose
from dtn_jax.papertables import cells
from dtn_jax.papertables.protocol import Entry
from dtn_jax.papertables.protocol_files import load, shipped
from dtn_jax.papertables.work import Work

SEEDS = 3


def add_options(parser: command.Parser, datasets: str) -> None:
    """The options of `works`, and the cache of compiled programs; `datasets`: the default."""
    shown = f" (default {datasets})" if datasets else ""
    parser.add_argument(
        "--datasets", default=datasets, help=f"shipped protocols, comma-separated{shown}"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="runs of each model (default %(default)s)"
    )
    add_places(parser)


def add_places(parser: command.Parser) -> None:
    """The folders of paper_tables and of data, and the cache of compiled programs."""
    parser.add_argument(
        "--workdir", default="runs/paper", help="of paper_tables (default %(default)s)"
    )
    parser.add_argument("--runs", default="", help="of paper_tables, where it was given")
    command.add_shared(parser, "data_dir", "manual_dir", "cache_dir")


def works(known: argparse.Namespace) -> dict[str, Work]:
    """{protocol: its runs}, of those that the options name, with that many seeds if they say.

    Raises:
      UserError: there is no such protocol, no seed is asked for, or a path can be no folder.
    """
    files = shipped()
    names = [choose("dataset", name, files) for name in known.datasets.split(",")]
    if known.seeds is not None and known.seeds < 1:
        raise UserError(f"--seeds={known.seeds}: expected at least 1")
    folders.check(known.workdir, "workdir")
    workdir = pathlib.Path(known.workdir)
    compile_cache.use(known.cache_dir)
    places = {"data.data_dir": known.data_dir, "data.manual_dir": known.manual_dir}
    made = {}
    for name in names:
        runs = pathlib.Path(known.runs) / name if known.runs else workdir / name / "runs"
        protocol = load(files[name])
        protocol = dataclasses.replace(protocol, seeds=known.seeds or protocol.seeds)
        made[name] = Work(protocol, workdir / name, runs, places, together=False)
    return made


def folder(work: Work, entry: Entry, seed: int) -> pathlib.Path | None:
    """Of an entry's finished run; None where it was not tuned, is not finished, or is gone."""
    if not work.tuning(entry.tuned_as):
        return None
    _, config = work.cell_file(entry, seed)
    run = work.runs / cells.run_name(config, work.data_at(config))
    return run if (run / "results.json").exists() else None


def told(lacking: Sequence[str]) -> str:
    """Of which entries runs cannot be looked at."""
    return f"runs without a folder, or not finished yet: {'; '.join(lacking)}"
