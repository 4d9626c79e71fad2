"""UCI Adult (Census 1994), the embedded default: real, 48,842 rows, no download."""

from __future__ import annotations

import pathlib
from typing import ClassVar

import polars as pl

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets.data_set import NUMBERS, DataSet, hold_out

FILE = pathlib.Path(__file__).parent / "adult.parquet"
TEST_ROWS = 16_281  # the file's first rows are UCI's test split, the rest its train split
VALIDATION = 0.1  # of UCI's train split, by a fixed seed
VALIDATION_SEED = 1994


class Adult(DataSet):
    """UCI Adult: does a person earn more than 50K a year, and did they never marry?"""

    name = "adult"
    schema = FILE.with_suffix(".yaml")
    OPTIONS: ClassVar = {"numbers": NUMBERS}
    layout = Layout(lanes=8, block_rows=128)

    def raw(self, files):
        frame = read()
        train, validation = hold_out(frame[TEST_ROWS:], VALIDATION, VALIDATION_SEED)
        return {"train": train, "validation": validation, "test": frame[:TEST_ROWS]}


def read() -> pl.DataFrame:
    """The 48,842 rows, UCI's columns."""
    return pl.read_parquet(FILE)
