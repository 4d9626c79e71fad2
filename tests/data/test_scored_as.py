"""Fields that only training knows, and fields that a log may lack."""

import polars as pl
import pytest
from sampled import ROWS, field
from schema_files import SMALL, spoiled
from shop_log import prepared, rows

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.schema.schema_file import fingerprint, loads
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader

TEXT = """
name: shop
fields:
  item:
  position: {scored_as: 1}
  page: {scored_as: null, optional: true}
  price: {kind: numeric, encoder: standardise, optional: true}
  dearer: {kind: numeric, value: price * 2, optional: true}
  tags: {kind: bag, weights: tag_weights, optional: true}
  place: {cross: [item, position]}
tasks: {click: }
split: {by: random, validation: 0.2, test: 0.2}
"""


def test_what_a_schema_file_says():
    spec = loads(TEXT)
    assert spec.fixed() == {"position": "1", "page": None}
    assert spec.optional() == ("page", "price", "dearer", "tags")


def test_the_fingerprint_of_a_file_without_the_keys_stays():
    before = "ab3db938205b220e97acb1b1189e2042fd239c3f27bdff97625a6ac06d49c4f7"
    assert fingerprint(loads(SMALL, "shop.yaml")) == before
    same = SMALL.replace("user: {}", "user: {optional: false}")
    assert fingerprint(loads(same, "shop.yaml")) == before
    for other in ("optional: true", "scored_as: null", "scored_as: 7"):
        changed = SMALL.replace("user: {}", f"user: {{{other}}}")
        assert fingerprint(loads(changed, "shop.yaml")) != before


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("x: {kind: bag, scored_as: 1}", "line 4: scored_as is an option of categorical or num"),
        ("x: {scored_as: [1, 2]}", "line 4: scored_as of field 'x': expected a value such as 1"),
        ("x: {scored_as: }", "line 4: scored_as of field 'x': expected a value such as 1"),
        ("x: {kind: numeric, scored_as: top}", "line 4: scored_as of field 'x': expected a number"),
        ("x: {cross: [user, item], scored_as: 1}", "line 4: field 'x' is a cross: 'scored_as' is"),
        ("x: {cross: [user, item], optional: true}", "line 4: field 'x' is a cross: 'optional'"),
        ("x: {optional: maybe}", "line 4: optional of field 'x': expected true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(field, message):
    with pytest.raises(UserError, match=message):
        loads(spoiled(field))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_file_may_lack_the_columns_of_optional_fields(tmp_path, suffix):
    frame = rows(600).select("item", "click").with_columns(position=pl.int_range(600) % 5)
    write = {"parquet": "write_parquet", "jsonl": "write_ndjson", "csv": "write_csv"}
    getattr(frame, write[suffix])(tmp_path / f"log.{suffix}")
    (tmp_path / "shop.yaml").write_text(TEXT)
    log = str(tmp_path / f"log.{suffix}")
    whole = prepare(tmp_path / "shop.yaml", log, tmp_path / "data", processes=1)
    found = SplitReader(whole, "train").everything()
    names = [f.name for f in whole.schema.slot_fields()]
    at = {name: names.index(name) for name in names}
    assert (found.ids[:, at["page"]] == 0).all()
    assert (found.ids[:, at["price"]] == 0).all()
    assert (found.ids[:, at["tags"]] <= 0).all()
    assert set(found.ids[:, at["position"]]) == {1, 2, 3, 4, 5}


def test_a_column_that_is_needed_elsewhere_is_missed(tmp_path):
    text = TEXT.replace("split: {by", "weight: price\nsplit: {by")
    frame = rows(100).select("item", "click").with_columns(position=1)
    with pytest.raises(UserError, match="weight: unknown column 'price'"):
        prepared(tmp_path, frame, text)


@pytest.mark.parametrize(
    ("name", "noted"),
    [("position", True), ("page_no", True), ("adSlot", True), ("composer", False)],
)
def test_infer_says_how_a_place_is_scored(name, noted):
    notes = field({name: [n % 5 for n in range(ROWS)]}, name).notes
    assert any("scored_as: 1" in note for note in notes) == noted


def test_some_files_may_have_what_others_lack(tmp_path):
    """As of a log that gained a column on its second day."""
    frame = rows(600).select("item", "click").with_columns(position=pl.int_range(600) % 5)
    frame.write_parquet(tmp_path / "log-1.parquet")
    more = {"tags": pl.Series([["a", "b"]] * 600), "tag_weights": pl.Series([[1.0, 2.0]] * 600)}
    more |= {"price": pl.int_range(600) * 0.5, "page": pl.lit(2)}
    frame.with_columns(**more).write_parquet(tmp_path / "log-2.parquet")
    (tmp_path / "shop.yaml").write_text(TEXT)
    log = str(tmp_path / "log-*.parquet")
    found = prepare(tmp_path / "shop.yaml", log, tmp_path / "data", processes=1)
    read = SplitReader(found, "train").everything()
    names = [f.name for f in found.schema.slot_fields()]
    for name in ("page", "price", "tags"):
        assert 0.4 < (read.ids[:, names.index(name)] > 0).mean() < 0.6, name
