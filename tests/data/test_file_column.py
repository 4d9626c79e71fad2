"""`_file`, the name of a row's file: in fields, expressions and splits of any format."""

import numpy as np
import polars as pl
import pytest
from shop_log import schema_file

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.schema.schema_file import help_text
from dtn_jax.input.reader import SplitReader

SCHEMA = """
name: shop
fields:
  item:
  source: {column: _file}
  late: {value: _file == "late.SUFFIX"}
tasks:
  click:
split:
  by: column
  column: _file
  values: {train: [early.SUFFIX, late.SUFFIX], test: test.SUFFIX}
  validation: 0.25
  seed: 5
"""


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_in_a_prepared_log(tmp_path, suffix):
    rng = np.random.default_rng(0)
    rows = {"early": 200, "late": 300, "test": 100}
    (tmp_path / "raw").mkdir()
    for name, count in rows.items():
        item, click = rng.integers(0, 9, count), rng.integers(0, 2, count)
        frame = pl.DataFrame({"item": item, "click": click})
        path = tmp_path / "raw" / f"{name}.{suffix}"
        (frame.write_csv if suffix == "csv" else frame.write_parquet)(path)
    schema = schema_file(tmp_path, SCHEMA.replace("SUFFIX", suffix))
    made = logs.prepare(schema, str(tmp_path / "raw"), tmp_path / "data", processes=1)
    # A quarter of train's rows are drawn, one by one, from both files.
    assert made.rows["test"] == 100
    assert made.rows["train"] + made.rows["validation"] == 500
    assert 90 < made.rows["validation"] < 160
    for split, files in (("train", 2), ("validation", 2), ("test", 1)):
        _, source, late = SplitReader(made, split).everything().ids[: made.rows[split], :3].T
        pairs = {(int(s), int(v)) for s, v in zip(source, late, strict=True)}
        assert len(pairs) == len({s for s, _ in pairs}) == files
    assert (source == 0).all()  # train does not show test's file


def test_help_has_it():
    assert "  _file            the name of the row's file" in help_text()
