"""Measures how far tasks diverge in the tuned models of paper tables, beside the true divergence.

It reads the best states of DTN's finished runs: those of `paper_tables --table=divergence`, at
each divergence of the synthetic data, and those of `--table=overall` of other data sets, of which
the truth is not known. What it measures is kept with the tables' cells, and not measured again.

It writes WORKDIR/measured_divergence.md, .json and .png.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from dtn_jax.analysis.figures import save
from dtn_jax.errors import UserError, choose
from dtn_jax.report import screen
from dtn_jax.shared_files import disk_errors, replacing, write_whole

from . import command, compile_cache, folders
from .tables import kept
from .tables.measured import points
from .tables.measured_text import markdown, picture, told
from .tables.protocol_files import load, shipped
from .tables.work import Work

EXAMPLE = (
    "python -m experiments.measured_divergence --datasets=divergence,adult --workdir=runs/paper"
)
FILE = "measured_divergence"
SEEDS = 3
DPI = 140


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    files = shipped()
    names = [choose("dataset", name, files) for name in known.datasets.split(",")]
    if known.seeds < 1:
        raise UserError(f"--seeds={known.seeds}: expected at least 1")
    folders.check(known.workdir, "workdir")
    workdir = pathlib.Path(known.workdir)
    compile_cache.use(known.cache_dir)
    places = {"data.data_dir": known.data_dir, "data.manual_dir": known.manual_dir}
    works = {}
    for name in names:
        runs = pathlib.Path(known.runs or known.workdir) / name
        runs = runs if known.runs else runs / "runs"
        works[name] = Work(load(files[name]), workdir / name, runs, places, together=False)
    with disk_errors(workdir):
        found = points(works, known.seeds)
        kept.keep(workdir / f"{FILE}.json", {"points": found})
        with replacing(workdir / f"{FILE}.png") as temporary:
            save(picture(found), temporary, dpi=DPI, bbox_inches="tight")
        write_whole(workdir / f"{FILE}.md", markdown(found, f"{FILE}.png"))
    for line in told(found):
        screen.say(line)
    screen.say(f"{workdir / FILE}.md, .json and .png")


def make_parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--datasets",
        default="divergence",
        help="shipped protocols, comma-separated (default %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="runs of each model (default %(default)s)"
    )
    parser.add_argument(
        "--workdir", default="runs/paper", help="of paper_tables (default %(default)s)"
    )
    parser.add_argument("--runs", default="", help="of paper_tables, where it was given")
    parser.add_argument("--data_dir", default="", help="where prepared sets are; see --help=data")
    parser.add_argument("--manual_dir", default="", help="where raw files are; see --help=data")
    compile_cache.add_option(parser)
    return parser


if __name__ == "__main__":
    command.run(main)
