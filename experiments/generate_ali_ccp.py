"""Writes files in Ali-CCP's published format, of any size, drawn from a known law.

They let you try the reader and the models without the data set. ali_ccp_twin.py says how clicks and
conversions are drawn.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from dtn_jax.cli import command, folders
from dtn_jax.data.progress import say
from dtn_jax.errors import UserError
from experiments.ali_ccp_twin import PairSpec, write

EXAMPLE = "python -m experiments.generate_ali_ccp --rows=100000 --out=raw/ali_ccp"


def main(arguments: Sequence[str]) -> None:
    parser = command.parser(__doc__, EXAMPLE)
    parser.add_argument(
        "--out", help="the folder for the files, usually ali_ccp in data.manual_dir"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="impressions of train")
    parser.add_argument(
        "--test_rows", type=int, default=0, help="impressions of test; 0: a quarter of train"
    )
    parser.add_argument("--lines", type=int, default=0, help="lines of common features in each "
                        "split; 0: one for every 50 impressions of train")  # fmt: skip
    parser.add_argument("--ids", type=int, default=20_000, help="ids in all fields together")
    parser.add_argument("--behaviours", type=float, default=0.1, help="mean number of a user's "
                        "behaviours, as a share of the one published row's")  # fmt: skip
    parser.add_argument("--odd", type=float, default=0.0, help="share of conversions among rows "
                        "without a click")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--gz", action="store_true", help="compress the files")
    known = parser.parse_args(arguments)
    if not known.out:
        raise UserError("no folder: give --out=DIR, the folder for the four files")
    folders.check(known.out, "--out")
    lines = known.lines or max(known.rows // 50, 1)
    spec = PairSpec(
        rows={"train": known.rows, "test": known.test_rows or max(known.rows // 4, 1)},
        lines={"train": lines, "test": lines},
        ids=known.ids,
        behaviours=known.behaviours,
        odd=known.odd,
        seed=known.seed,
    )
    try:
        paths = write(spec, pathlib.Path(known.out), known.gz)
    except OSError as error:
        raise UserError(f"cannot write to {known.out}: {error}") from error
    for path in paths:
        say(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    command.run(main)
