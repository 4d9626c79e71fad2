"""Measures how far tasks diverge in the tuned models of paper tables, beside the true divergence.

It reads the best states of DTN's finished runs: those of `paper_tables --table=divergence`, at
each divergence of the synthetic data, and those of `--table=overall` of other data sets, of which
the truth is not known. What it measures is kept with the tables' cells, and not measured again.

It writes WORKDIR/measured_divergence.md, .json and .png.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.analysis.figures import save
from dtn_jax.report import screen
from dtn_jax.shared_files import disk_errors, replacing, write_whole

from . import command
from .tables import finished, kept
from .tables.measured import points
from .tables.measured_text import markdown, picture, told

EXAMPLE = (
    "python -m experiments.measured_divergence --datasets=divergence,adult --workdir=runs/paper"
)
FILE = "measured_divergence"
DPI = 140


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    finished.add_options(parser, "divergence")
    known = parser.parse_args(arguments)
    works = finished.works(known)
    workdir = pathlib.Path(known.workdir)
    with disk_errors(workdir):
        found = points(works, known.seeds)
        kept.keep(workdir / f"{FILE}.json", {"points": found})
        with replacing(workdir / f"{FILE}.png") as temporary:
            save(picture(found), temporary, dpi=DPI, bbox_inches="tight")
        write_whole(workdir / f"{FILE}.md", markdown(found, f"{FILE}.png"))
    for line in told(found):
        screen.say(line)
    screen.say(f"{workdir / FILE}.md, .json and .png")


if __name__ == "__main__":
    command.run(main)
