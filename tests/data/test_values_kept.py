"""Which values of a list are kept and what is told of the others; what hashed fields know."""

import numpy as np
import polars as pl
import pytest
from shop_log import prepared, schema_file

from dtn_jax.datasets.description.describe import describe
from dtn_jax.datasets.logs.write import shown_values
from dtn_jax.input.reader import SplitReader
from dtn_jax.report.description import field_sections, overview
from experiments import prepare

ROWS = 600
BAG = "kind: bag, max_values: 5, weights: seen_at"
SCHEMA = f"""
name: shop
fields:
  seen: {{{BAG}}}
  id: {{encoder: hash, size: 1e5, functions: 2}}
  query: {{encoder: hash, size: 50, functions: 2}}
  query_x_id: {{cross: [query, id], encoder: hash, size: 90}}
  tags: {{kind: bag, encoder: hash, size: 50, functions: 2}}
  row: {{column: id}}
tasks: [click]
split: {{by: column, column: part}}
"""


def log():
    """Histories of 200 that ascend, ids that occur once, and a query in two rows of three."""
    n = np.arange(ROWS)
    seen = [list(range(row % 3, row % 3 + 200)) for row in range(ROWS)]
    return pl.DataFrame(
        {
            "seen": seen,
            "seen_at": [[float(v) for v in row] for row in seen],
            "id": n,
            "query": [None if row % 3 == 0 else f"q{row % 7}" for row in range(ROWS)],
            "tags": [[None, "a", "b"]] * ROWS,
            "click": n % 2,
            "part": np.array(["train", "validation", "test"])[np.maximum(n // 150 - 1, 0)],
        }
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return prepared(folder, log(), SCHEMA), folder


def kept(data, split):
    """{the values of a row's bag: their weights}, as numbers."""
    batch = SplitReader(data, split).everything()
    slots = [i for i, f in enumerate(data.schema.slot_fields()) if f.name == "seen"]
    ids = np.asarray(batch.ids)[:, slots]
    names = shown_values.fields(data.folder)["seen"].names(sorted(set(ids.ravel().tolist())))
    values = [tuple(int(names[i]) for i in row) for row in ids.tolist()]
    return dict(zip(values, np.asarray(batch.weights).tolist(), strict=True))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bag_keeps_its_first_or_its_last_values_and_their_weights(split, shop, tmp_path):
    assert sorted(kept(shop[0], split)) == [tuple(range(n, n + 5)) for n in range(3)]
    last = prepared(tmp_path, log(), SCHEMA.replace(BAG, f"{BAG}, keep: last"))
    found = kept(last, split)
    assert sorted(found) == [tuple(range(n + 195, n + 200)) for n in range(3)]
    assert all(list(values) == weights for values, weights in found.items())
    assert "the last ones of each list are kept" in last.notes["account"][0]


def test_what_max_values_cuts_is_told(shop, tmp_path, capsys):
    data, folder = shop
    told = "seen: 97.5 % of train's values are beyond max_values=5; the first ones"
    assert any(line.startswith(told) for line in data.notes["account"])
    assert data.cut_shares() == {"seen": 0.975, "tags": 0.0}
    source = f"--input={folder}/raw/*.parquet"
    call = [f"--schema={schema_file(tmp_path, SCHEMA)}", source, f"--data_dir={tmp_path}"]
    for again in (False, True):
        prepare.main(call)
        shown = capsys.readouterr().out
        assert shown.count(told) == 1, again
        table = shown.partition("Fields of shop")[2].partition("Tasks")[0]
        cells = {line.split()[0]: line.split() for line in table.splitlines() if line.strip()}
        assert cells["seen"][-8:-6] == ["97.5", "%"]
        assert cells["row"][1:4] == ["categorical", "301", "1"]
        assert cells["row"][4:] == ["0", "%", "100.0", "%", "100.0", "%"]  # nothing of a cut
        assert cells["id"][-4:] == ["0", "%", "–", "–"]


def test_a_log_without_bags_has_no_such_column(tmp_path):
    data = prepared(tmp_path, log(), "name: shop\nfields: [query]\ntasks: [click]\n")
    grid = overview.kept_fields(data)
    assert not any("cut" in name for name in grid.header)
    assert not grid.note


def test_hashed_fields_know_what_is_missing_but_not_what_is_new(shop):
    data, _ = shop
    found = overview.kept_unknown(data)
    assert {name: found["train"][name] for name in ("id", "query", "query_x_id", "tags")} == {
        "id": "0 %",
        "query": "33.3 %",
        "query_x_id": "33.3 %",
        "tags": "33.3 %",
    }
    for split in ("validation", "test"):
        assert found[split] == dict.fromkeys(("id", "query", "query_x_id", "tags"), "–") | {
            "seen": "0 %",
            "row": "100.0 %",
        }


def test_a_description_tells_the_same(shop):
    data, _ = shop
    told = describe(data)
    grid = field_sections.fields(told).grids[0]
    assert grid.rows == overview.kept_fields(data).rows
    assert grid.note.endswith(f"{overview.CUT} {overview.HASHED}")
    (remark,) = (r for r in overview.remarks(told) if r.what == "cut lists")
    assert remark.reason.startswith("seen (97.5 %): train's values beyond")
    (moved,) = (m for m in told.field_drift if (m.name, m.split) == ("row", "test"))
    assert moved.reading == "strong"
