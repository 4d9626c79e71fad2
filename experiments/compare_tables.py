"""Compares two protocols' tables row by row: what does it change for every model?

Both must have the same test rows: KuaiRand with and without histories, for example, or Adult with
numbers in buckets and as numbers. Each row of the first protocol's table is compared with the
row of the same name in the second's: difference of mean AUCs, 95 % interval, corrected p-value.
Finished cells of `paper_tables` are all that it needs; it trains nothing.

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
from .tables import finished, kept, paired, plots, terminal
from .tables.differences import difference_text
from .tables.entries import TABLES

EXAMPLE = (
    "python -m experiments.compare_tables --datasets=kuairand_histories,kuairand "
    "--workdir=runs/paper"
)
DPI = 140


def main(arguments: Sequence[str]) -> None:
    known = make_parser().parse_args(arguments)
    table = choose("table", known.table, TABLES)
    works = finished.works(known)
    if len(works) != 2:
        raise UserError(f"--datasets={known.datasets}: expected two protocols, FIRST,SECOND")
    found = paired.paired(works, table)
    name, beside = works
    stem = pathlib.Path(known.workdir) / name / f"{table}_less_{beside}"
    with disk_errors(stem.parent):
        kept.keep(stem.with_suffix(".json"), found)
        if figure := plots.differences(found):
            with replacing(stem.with_suffix(".png")) as temporary:
                save(figure, temporary, dpi=DPI, bbox_inches="tight")
        write_whole(stem.with_suffix(".md"), paired.page(found, f"{stem.name}.png"))
    if text := difference_text(found):
        for part in terminal.parts_of(text, text.header[1:], screen.console().width):
            screen.show(part)
    for line in [*paired.told(found), f"{stem}.md, .json and .png"]:
        screen.say(line, highlight=False)


def make_parser() -> command.Parser:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--datasets", metavar="FIRST,SECOND", required=True, help="two shipped protocols"
    )
    parser.add_argument(
        "--table", default="overall", help=f"one of {', '.join(TABLES)} (default %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, help="how many of each row's runs (default: the protocol's)"
    )
    finished.add_places(parser)
    return parser


if __name__ == "__main__":
    command.run(main)
