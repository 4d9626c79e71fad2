"""KDD Census-Income (1994/95), official splits: the benchmark of the MMoE and PLE papers.

Reads, from `<manual_dir>/census_income`, either `train.parquet` and `test.parquet` or UCI's
`census-income.data` and `census-income.test` (plain or `.gz`); without them it downloads UCI's
archive. Whatever the source, the rows are verified against the official table's SHA-256.

census_income.yaml says what becomes of them; with `tasks=seven` it is census_income_seven.yaml.
"""

from __future__ import annotations

import hashlib
import pathlib
from typing import ClassVar

import polars as pl

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets.data_set import NUMBERS, DataSet, hold_out
from dtn_jax.errors import UserError
from dtn_jax.options import Option

RAW = ("census-income.data", "census-income.test")
PARQUET = ("train.parquet", "test.parquet")
VALIDATION = 0.1  # of UCI's train split, by a fixed seed
VALIDATION_SEED = 1995
ADULT = 18  # years

# Rows and SHA-256 of the official splits: of all columns but instance_weight, as text, values
# joined by "," and rows ended by "\n".
OFFICIAL = {
    "train": (199_523, "54caf6039d442aa2b21e1c110e94ccdc574ca7f195bc36917423882206be3132"),
    "test": (99_762, "b70f3913a8b46dcebaa078797d3439f36521e71d073c37d124c116148349fbeb"),
}

# fmt: off
COLUMNS = (
    "age", "class_worker", "det_ind_code", "det_occ_code", "education", "wage_per_hour",
    "hs_college", "marital_stat", "major_ind_code", "major_occ_code", "race", "hisp_origin",
    "sex", "union_member", "unemp_reason", "full_or_part_emp", "capital_gains",
    "capital_losses", "stock_dividends", "tax_filer_stat", "region_prev_res", "state_prev_res",
    "det_hh_fam_stat", "det_hh_summ", "instance_weight", "mig_chg_msa", "mig_chg_reg",
    "mig_move_reg", "mig_same", "mig_prev_sunbelt", "num_emp", "fam_under_18", "country_father",
    "country_mother", "country_self", "citizenship", "own_or_self", "vet_question",
    "vet_benefits", "weeks_worked", "year", "income_50k",
)
# fmt: on
WEIGHT = "instance_weight"
NUMERIC = (
    *("age", "wage_per_hour", "capital_gains", "capital_losses", "stock_dividends", "num_emp"),
    "weeks_worked",
)


class CensusIncome(DataSet):
    """KDD Census-Income: income above 50K, and never married (39 fields, 299,285 rows).

    With `tasks=seven`: seven labels of adults that disagree (15 fields, 215,574 rows).
    """

    name = "census_income"
    url = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"
    layout = Layout(lanes=32, block_rows=128)
    OPTIONS: ClassVar = {
        "buckets": Option(64, "quantile buckets of a numeric field", least=2, most=1_000_000),
        "numbers": NUMBERS,
        "tasks": Option(
            "two",
            "two: income, never married; seven: of adults, labels that disagree",
            choices=("two", "seven"),
        ),
    }

    @property
    def schema(self):
        """The schema file of these tasks."""
        suffix = ".yaml" if self.options.tasks == "two" else f"_{self.options.tasks}.yaml"
        return pathlib.Path(__file__).with_name(self.name + suffix)

    def raw_names(self):
        return self.names_there(RAW, PARQUET)

    def raw(self, files):
        """The rows; who validates among adults also does among all."""
        given = zip(OFFICIAL, files.values(), strict=True)
        frames = {split: read(split, path) for split, path in given}
        train, validation = hold_out(frames["train"], VALIDATION, VALIDATION_SEED)
        splits = {"train": train, "validation": validation, "test": frames["test"]}
        if self.options.tasks == "two":
            return splits
        return {split: rows.filter(pl.col("age") >= ADULT) for split, rows in splits.items()}


def read(split: str, path: pathlib.Path) -> pl.DataFrame:
    """One raw file as a frame of text and whole numbers.

    UCI's text has no header, and blanks around its values.

    Raises:
      UserError: the file is damaged, has other columns, or is not the official split.
    """
    words = [name for name in COLUMNS if name not in (*NUMERIC, WEIGHT)]
    try:
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path, columns=list(COLUMNS))
        else:
            form = {"has_header": False, "new_columns": COLUMNS, "infer_schema": False}
            frame = pl.read_csv(path, encoding="utf8-lossy", quote_char=None, **form)
            frame = frame.with_columns(pl.all().str.strip_chars()).filter(pl.col("age") != "")
            weight = pl.col(WEIGHT).cast(pl.Float64) * 100
            frame = frame.with_columns(weight.round())
        frame = frame.select(
            pl.col(name).cast(pl.String if name in words else pl.Int64) for name in COLUMNS
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    rows, sha256 = OFFICIAL[split]
    if len(frame) != rows:
        raise UserError(
            f"{path}: {len(frame)} rows, but the official split has {rows}; is it truncated?"
        )
    if digest(frame) != sha256:
        raise UserError(
            f"{path}: the rows differ from the official split's (SHA-256 {sha256[:12]}…)"
        )
    return frame


def digest(frame: pl.DataFrame) -> str:
    """The SHA-256 of OFFICIAL's definition."""
    text = frame.select(
        pl.concat_str([pl.col(c).cast(pl.String) for c in COLUMNS if c != WEIGHT], separator=",")
    ).to_series()
    return hashlib.sha256("".join(f"{row}\n" for row in text).encode()).hexdigest()
