"""UCI Adult (Census 1994), the embedded default: real, 48,842 rows, no download."""

from __future__ import annotations

import functools
import pathlib
from typing import ClassVar

import polars as pl

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.encoders import Vocabulary
from dtn_jax.datasets.preparation.hold_out import hold_out
from dtn_jax.datasets.preparation.kept_numbers import NUMBERS, numeric_encoder, variant
from dtn_jax.schema import Task

FILE = pathlib.Path(__file__).parent / "adult.parquet"
TEST_ROWS = 16_281  # the file's first rows are UCI's test split, the rest its train split
VALIDATION = 0.1  # of UCI's train split, by a fixed seed
VALIDATION_SEED = 1994

CATEGORICAL = (
    "workclass",
    "education",
    "occupation",
    "relationship",
    "race",
    "gender",
    "native-country",
)
NUMERIC = ("age", "educational-num", "capital-gain", "capital-loss", "hours-per-week")


class Adult(BlockBuilder):
    """UCI Adult: does a person earn more than 50K a year, and did they never marry?

    `marital-status` gives the second label, so it is not a field. `fnlwgt`, the number of people
    that a row stands for, is stored as the example's weight.
    """

    OPTIONS: ClassVar = {"numbers": NUMBERS}
    FIELD_OPTIONS: ClassVar = ("numbers",)
    weight = "fnlwgt"

    def variant(self):
        return "" if self.own.numbers == "buckets" else variant(self.own.numbers)

    def encoders(self):
        categorical = {n: Vocabulary(unknown=("?",)) for n in CATEGORICAL}
        numeric = numeric_encoder(self.own.numbers)
        return categorical | dict.fromkeys(NUMERIC, numeric)

    def tasks(self):
        return (Task("income"), Task("never_married"))

    def layout(self):
        return Layout(lanes=8, block_rows=128)

    def raw(self, dl_manager):
        frame = read()
        train, validation = hold_out(frame[TEST_ROWS:], VALIDATION, VALIDATION_SEED)
        splits = {"train": train, "validation": validation, "test": frame[:TEST_ROWS]}
        return {name: functools.partial(iter, [split]) for name, split in splits.items()}


def read() -> pl.DataFrame:
    """The 48,842 rows with their two labels as 0 and 1."""
    return pl.read_parquet(FILE).with_columns(
        income=(pl.col("income") == ">50K").cast(pl.Int8),
        never_married=(pl.col("marital-status") == "Never-married").cast(pl.Int8),
    )
