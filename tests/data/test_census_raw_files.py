"""Raw files of Census-Income that are missing, damaged or changed: refused, with file and line."""

import census_table
import pytest
from census_table import COLUMNS, damaged, failure, gzipped, table, write_parquet, write_text

from dtn_jax.datasets import census_income

small_official = census_table.small_official
surroundings = census_table.surroundings
manual = census_table.manual


@pytest.mark.parametrize("kept", ["train.parquet", "census-income.data", "census-income.data.gz"])
def test_one_of_the_pair_is_missing(manual, kept):
    (manual / "census_income" / kept).write_bytes(b"")
    message = failure(manual)
    assert f"{manual}/census_income lacks the test split: expected test.parquet" in message
    assert "census-income.test or census-income.test.gz" in message


def test_the_other_of_the_pair_is_missing(manual):
    write_text(manual)
    (manual / "census_income" / "census-income.data").unlink()
    assert "lacks the train split: expected train.parquet, census-income.data" in failure(manual)


@pytest.mark.parametrize("keep", [0, 5, -100])
def test_truncated_parquet(manual, keep):
    write_parquet(manual)
    path = manual / "census_income" / "test.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} is not a readable Parquet file" in failure(manual)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        damaged,
        lambda data: data[:10] + b"\xff" * 100,
        lambda data: b"not gzip",
        lambda data: data[:-4] + b"abcd",
    ],
    ids=["truncated", "damaged", "not deflated", "not gzip", "wrong length"],
)
def test_damaged_gz(manual, spoil):
    write_text(manual, gzipped, ".gz")
    path = manual / "census_income" / "census-income.data.gz"
    path.write_bytes(spoil(path.read_bytes()))
    assert f"{path} cannot be read: " in failure(manual)


@pytest.fixture
def train_text(manual):
    """The lines of the train file, and a function that writes them back."""
    write_text(manual)
    path = manual / "census_income" / "census-income.data"
    return path, path.read_text().split("\n"), lambda lines: path.write_text("\n".join(lines))


def test_a_line_of_41_values(manual, train_text):
    path, lines, write = train_text
    lines[16] = lines[16].rpartition(",")[0]
    write(lines)
    assert f"{path}, line 17: 41 values, expected 42" in failure(manual)


def test_lines_are_counted_as_an_editor_counts_them(manual, train_text):
    path, lines, write = train_text
    lines[16] += ", more"
    write(["", " ", *lines])
    assert f"{path}, line 19: 43 values, expected 42" in failure(manual)


def test_a_file_that_ends_within_a_line(manual, train_text):
    path, lines, write = train_text
    write([*lines[:200], lines[200][:40]])
    assert f"{path}, line 201: " in failure(manual)


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", "forty"), ("capital_gains", ""), ("weeks_worked", "1.5"), ("instance_weight", "x")],
)
def test_a_value_that_is_no_number(manual, train_text, column, value):
    path, lines, write = train_text
    values = lines[99].split(",")
    values[COLUMNS.index(column)] = f" {value}"
    lines[99] = ",".join(values)
    write(["", *lines])
    message = failure(manual)
    assert f"{path}, line 101: column '{column}' is '{value}', expected a number" in message


def test_too_few_rows(manual, train_text):
    path, lines, write = train_text
    write(lines[:250])
    assert f"{path}: 250 rows, but the official split has 300" in failure(manual)


def test_a_changed_value(manual, train_text):
    path, lines, write = train_text
    lines[5] = lines[5].replace("Not in universe", "In the universe", 1)
    write(lines)
    message = failure(manual)
    assert f"{path}: the rows differ from the official split's (SHA-256 " in message
    assert census_income.OFFICIAL["train"][1][:12] in message


def test_rows_in_another_order(manual):
    write_parquet(manual)
    path = manual / "census_income" / "test.parquet"
    table("test").reverse().write_parquet(path)
    assert f"{path}: the rows differ" in failure(manual)


def test_swapped_splits(manual):
    write_parquet(manual)
    folder = manual / "census_income"
    (folder / "train.parquet").rename(folder / "x")
    (folder / "test.parquet").rename(folder / "train.parquet")
    (folder / "x").rename(folder / "test.parquet")
    assert f"{folder}/train.parquet: 150 rows, but the official split has 300" in failure(manual)


def test_a_missing_column(manual):
    write_parquet(manual)
    path = manual / "census_income" / "train.parquet"
    table("train").drop("sex").write_parquet(path)
    assert f"{path}: column 'sex' is missing; the columns are: age, " in failure(manual)
