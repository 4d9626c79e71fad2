"""Compares two protocols' tables row by row: what does it change for every model?

Both must have the same test rows: KuaiRand with and without histories, for example. Each row of
the first protocol's table is compared with the row of the same name in the second's: difference
of mean AUCs, 95 % interval, corrected p-value. It reads the finished cells of `paper_tables`, and
trains nothing.

It writes WORKDIR/FIRST/TABLE_less_SECOND.md, .json and .png.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.analysis.figures import save
from dtn_jax.errors import UserError, choose
from dtn_jax.report import screen
from dtn_jax.shared_files import disk_errors, replacing, write_whole

from . import command
from .tables import finished, kept, paired_text, plots, terminal
from .tables.entries import TABLES
from .tables.paired import row_by_row

EXAMPLE = (
    "python -m experiments.compare_tables --datasets=kuairand_histories,kuairand "
    "--workdir=runs/paper"
)
OF_ONE_TEST = [table for table in TABLES if table != "divergence"]  # whose rows share test rows


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    table = choose("table", known.table, OF_ONE_TEST)
    if len(set(known.datasets.split(","))) != 2:
        raise UserError(f"--datasets={known.datasets}: expected two protocols, FIRST,SECOND")
    works = finished.works(known)
    name, beside = works
    found = row_by_row(works, table)
    stem = pathlib.Path(known.workdir) / name / f"{table}_less_{beside}"
    picture = stem.with_suffix(".png")
    with disk_errors(stem.parent):
        kept.keep(stem.with_suffix(".json"), found)
        figure = plots.differences(found)
        picture.unlink(missing_ok=True)
        if figure:
            with replacing(picture) as temporary:
                save(figure, temporary, dpi=plots.DPI, bbox_inches="tight")
        page = paired_text.page(found, picture.name if figure else "")
        write_whole(stem.with_suffix(".md"), page)
    for text in paired_text.texts(found):
        for part in terminal.parts_of(text, text.header[1:], screen.console().width):
            screen.show(part)
    for line in [*paired_text.told(found), f"{stem}.md and .json, and the picture"]:
        screen.say(line, highlight=False)


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--datasets", metavar="FIRST,SECOND", required=True, help="two shipped protocols"
    )
    parser.add_argument(
        "--table", default="overall", help=f"one of {', '.join(OF_ONE_TEST)} (default %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, help="how many of each row's runs (default: the protocol's)"
    )
    finished.add_places(parser)
    return parser


if __name__ == "__main__":
    command.run(main)
