from datetime import date

import polars as pl

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.encoders import QuantileBuckets, Vocabulary
from dtn_jax.schema import Task

TEST = date(2026, 3, 9)  # the last day; validation is the day before it


class Visits(BlockBuilder):
    """Visits to a shop, joined to its items: does one click, and does one buy after that?"""

    group = "visitor"  # whose rows are ranked against each other: GAUC
    day = "date"

    def raw_files(self):
        return [self.manual_dir / "visits" / name for name in ("visits.csv", "items.csv")]

    def encoders(self):  # the fields in order, fitted on train
        ids = {"visitor": Vocabulary(min_count=2), "item": Vocabulary()}
        return ids | {"price": QuantileBuckets()}

    def tasks(self):
        return (Task("click"), Task("buy", upstream=("click",), also_report=("click",)))

    def layout(self):
        return Layout(lanes=8, block_rows=128)

    def raw(self, dl_manager):  # {split: a function that gives its frames, one after another}
        visits, items = (pl.read_csv(file, try_parse_dates=True) for file in self.raw_files())
        rows = visits.join(items, on="item", how="left", maintain_order="left")
        days_left = (TEST - pl.col("date")).dt.total_days()
        parts = {"train": days_left > 1, "validation": days_left == 1, "test": days_left == 0}
        return {s: lambda p=p: iter([rows.filter(p)]) for s, p in parts.items()}


DATASETS = {"visits": Visits}
