"""Every way in which a row can be bad: told with file, row, column and value; counted; kept."""

import json
import math

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.cli.prepare import main
from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError

INF = math.inf
ROWS = 2_000
# What the log's own schema file lacks: a range of labels, the longest list, a split by a column.
TEXT = log.without("viewed", "action", "clicked", "ago")
TEXT = TEXT.replace("max_values: 3", "max_values: 3, longest: 4")
TEXT = TEXT.replace("label: log1p(seconds)", "label: seconds, range: [0, 500]")
TEXT = TEXT.replace(
    "  watch:",
    "  again: {label: again, known: click == 1}\n  dear: {label: cost * n > 9}\n  watch:",
)
TEXT += "split: {by: column, column: part}\n"
ENDLESS, LARGE, TYPE = "not finite", "32-bit floats", "wrong type"
WEIGHT, RANGE, LENGTHS = "weight that is no finite", "outside its range", "another length than"
NUMBERS, TIME, MISSING = "list of other than 3 numbers", "time that does not parse", "missing"

CASES = [  # (column, its bad value, reason); each in another row
    ("price", "cheap", TYPE),
    ("price", INF, ENDLESS),
    ("price", -INF, ENDLESS),
    ("price", "inf", ENDLESS),
    ("price", 1e39, LARGE),
    ("speed", "old", TYPE),
    ("speed", -1e300, LARGE),
    ("click", 2, RANGE),
    ("click", 0.5, RANGE),
    ("click", "yes", TYPE),
    ("click", "", TYPE),
    ("click", None, MISSING),
    ("again", 2, RANGE),
    ("again", None, MISSING),
    ("again", "often", TYPE),
    ("seconds", -0.1, RANGE),
    ("seconds", 500.5, RANGE),
    ("seconds", INF, ENDLESS),
    ("seconds", None, MISSING),
    ("w", -1.0, WEIGHT),
    ("w", None, WEIGHT),
    ("w", "heavy", TYPE),
    ("w", 1e300, LARGE),
    ("user", None, MISSING),
    ("t", None, MISSING),
    ("t", "yesterday", TIME),
    ("t", "2026-02-30 10:00:00", TIME),
    ("t", "2026-03-02T10:00:00+25:99x", TIME),
    ("seen", ["1"] * 5, "list of more than 4 values"),
    ("seen_weights", ["1.0"] * 3, LENGTHS),
    ("seen_weights", None, LENGTHS),
    ("seen_weights", ["a"], TYPE),
    ("seen_weights", [None], TYPE),
    ("seen_weights", ["inf"], ENDLESS),
    ("seen_weights", ["1e39"], LARGE),
    ("embedding", ["1.0", "2.0"], NUMBERS),
    ("embedding", [], NUMBERS),
    ("embedding", ["1.0"] * 4, NUMBERS),
    ("embedding", ["1.0", None, "2.0"], TYPE),
    ("embedding", ["1.0", "nan", "2.0"], ENDLESS),
    ("embedding", ["1.0", "1e39", "2.0"], LARGE),
    ("part", "trian", "split of no known name"),
    ("part", None, MISSING),
    ("cost * n > 9", {"cost": INF}, TYPE),  # an expression shows all that it reads
]


def frame():
    """The log, every row with a click and one seen item, so that all its columns are wanted."""
    part = np.random.default_rng(7).choice(log.SPLITS, ROWS, p=[0.8, 0.1, 0.1])
    return log.rows(ROWS).with_columns(
        pl.col("seconds").clip(0, 400),
        click=1,
        seen=pl.Series([[5]] * ROWS),
        seen_weights=pl.Series([[1.0]] * ROWS),
        again=pl.lit(1),
        cost=pl.lit(1.5),
        n=pl.lit(4),
        part=pl.Series(part),
    )


def changed(data, column, row, value):
    """The frame with another value in a row; its column of texts, where it must be."""
    values = data[column].to_list()
    values[row] = value
    if isinstance(value, list) or isinstance(values[0], list):
        return data.with_columns(
            pl.Series(column, [v and [x and str(x) for x in v] for v in values], strict=False)
        )
    if isinstance(value, str) or data[column].dtype == pl.String:
        values = [v if v is None else str(v) for v in values]
    return data.with_columns(pl.Series(column, values, strict=False))


def kept(folder):
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]


def prepared(folder, data, most, text=TEXT, **options):
    data.write_parquet(folder / "log.parquet")
    schema, given = log.schema_file(folder, text), str(folder / "log.parquet")
    return prepare(schema, given, folder, processes=1, max_reject_rate=most, **options)


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """(the set of a log of which each case is a row, from row 1,001 on; its folder)."""
    folder, data = tmp_path_factory.mktemp("bad"), frame()
    for row, (column, value, _) in enumerate(CASES, 1_000):
        if isinstance(value, dict):
            column, value = next(iter(value.items()))
        data = changed(data, column, row, value)
    return prepared(folder, data, 0.05), folder


def test_bad_rows_are_counted_and_kept_and_all_others_are_prepared(every):
    made, folder = every
    assert made.notes["read"] == ROWS
    assert (
        sum(made.rows.values()) == ROWS - len(CASES) == ROWS - sum(made.notes["rejected"].values())
    )
    found = kept(made.folder)
    assert len(found) == len(CASES)
    for line in found:
        column, value, reason = CASES[line["row"] - 1_001]
        assert line["file"] == str(folder / "log.parquet")
        assert line["column"] == column
        assert reason in line["reason"], line
        shown = line["value"].strip("'")
        if isinstance(value, int | float):
            assert float(shown) == value
        else:
            assert shown == str(value) or isinstance(value, dict), line


def test_too_many_bad_rows_are_told_and_no_set_is_harmed(every, capsys):
    """The first rows of each reason with file, row and value, counts, and where all of them are."""
    made, folder = every
    before, raw = log.everything(made.folder), folder / "log.parquet"
    call = [f"--schema={folder / 'shop.yaml'}", f"--input={raw}", f"--data_dir={folder}"]
    main([*call])  # a set that is there already: its account again
    first = f"1 of 2,000 rows rejected: list of more than 4 values: {raw}, row 1,029, column 'seen'"
    assert first in capsys.readouterr().out
    log.schema_file(folder, TEXT.replace("buckets: 8", "buckets: 9"))
    with pytest.raises(UserError) as told:
        main([*call, "--processes=1", "--replace"])
    assert first in capsys.readouterr().out
    text = str(told.value)
    assert f"{len(CASES)} of 2,000 rows are bad (2.2 %), more than --max_reject_rate=0.001" in text
    assert f"wrong type: {raw}, row 1," in text
    assert f"are in {folder}/logs/shop/rejects.jsonl" in text
    assert len(kept(folder / "logs/shop")) == len(CASES)
    assert log.everything(made.folder) == before


@pytest.mark.parametrize("bad", [2, 3])
def test_a_tenth_of_a_percent_is_allowed(bad, tmp_path):
    data = frame().with_columns(w=pl.when(pl.int_range(ROWS) < bad).then(-1.0).otherwise("w"))
    if bad == 3:
        with pytest.raises(UserError, match=r"3 of 2,000 rows are bad \(0.15 %\)"):
            prepared(tmp_path, data, 0.001)
        assert not (tmp_path / "logs/shop/1.0.0").exists()
    else:
        assert sum(prepared(tmp_path, data, 0.001).rows.values()) == ROWS - 2


def test_a_row_that_is_bad_twice_is_counted_once_and_what_known_spares_is_not_bad(tmp_path):
    data = changed(changed(frame(), "w", 5, -1.0), "seconds", 5, None)
    data = changed(changed(data, "click", 7, 0), "again", 7, "never")
    made = prepared(tmp_path, data, 0.1)
    assert list(made.notes["rejected"].values()) == [1]
    assert sum(made.rows.values()) == ROWS - 1


def test_the_first_rows_of_each_reason_are_kept(tmp_path):
    data = frame().with_columns(w=pl.when(pl.int_range(ROWS) < 1_050).then(-1.0).otherwise("w"))
    made = prepared(tmp_path, changed(data, "seconds", 1_500, -1), 1.0)
    assert [line["row"] for line in kept(made.folder)] == [*range(1, 1_001), 1_501]
    assert list(made.notes["rejected"].values()) == [1_050, 1]
