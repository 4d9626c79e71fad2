"""Positives on rows where a task that theirs is taken to need is 0: counted, told, refused."""

import numpy as np
import polars as pl
import pytest
import sampled
from world.log import prepared, schema_file, write

from dtn_jax.data import prepare as logs
from dtn_jax.errors import UserError

TEXT = """
name: shop
fields: {item: }
tasks:
  click: {known: item > 0}
  order: {upstream: [click], also_report: [click], positives_outside: 0.2}
  like: {space: click}
split: {by: random}
"""


def log():
    """1,000 rows: 100 orders with a click, 20 without, and 30 where no click is known."""
    place = np.arange(1000)
    click = place < 400
    order = (place < 100) | ((place >= 400) & (place < 420)) | (place >= 970)
    like = (place >= 390) & (place < 425)  # 10 with a click, 25 without
    item = np.where(place >= 970, 0, 1 + place % 7)
    columns = {"item": item, "click": click, "order": order, "like": like}
    frame = pl.DataFrame({name: values.astype(int) for name, values in columns.items()})
    return frame.sample(fraction=1.0, shuffle=True, seed=0)


def with_most(share):
    return TEXT.replace("positives_outside: 0.2", share)


def test_positives_are_counted_where_the_other_label_is_known(tmp_path):
    """In a whole log, of fewer negatives, and as an extension."""
    whole = prepared(tmp_path, log(), TEXT)
    first, second = whole.notes["account"][:2]
    assert first.startswith("20 of 120 positives of task 'order' (16.7 %) lie on rows")
    assert second.startswith("25 of 35 positives of task 'like' (71.4 %) lie on rows")
    later = TEXT.replace("shop", "later")
    fewer = prepared(tmp_path / "fewer", log(), later + "sample_negatives: {click: 0.1}\n")
    assert fewer.rows["train"] < whole.rows["train"] / 1.5
    source = write(tmp_path / "raw_later", log())
    schema = schema_file(tmp_path, later, "later.yaml")
    more = logs.prepare(schema, source, tmp_path / "data", processes=1, extend="shop")
    for made in (whole, fewer, more):
        assert made.notes["positives_outside"] == {
            "click": {"order": [400, 300], "like": [400, 390]},
            "order": {"click": [120, 20], "like": [150, 130]},
            "like": {"click": [35, 25], "order": [35, 15]},
        }


def test_positives_count_by_their_weights(tmp_path):
    """Each of the 20 without a click stands for 10 in a log that keeps a tenth of such rows."""
    weight = pl.when(pl.col("click") == 1).then(1).otherwise(10)
    text = TEXT.replace("0.2}", "0.7}") + "weight: w\n"
    made = prepared(tmp_path, log().with_columns(w=weight), text)
    assert made.notes["positives_outside"]["order"]["click"] == [300, 200]
    assert made.notes["account"][0].startswith(
        "200 of 300 positives of task 'order', counted by 'w', (66.7 %) lie on rows where 'click' "
    )
    with pytest.raises(
        UserError, match=r"200 of 300 .* \(66\.7 %\).* \{positives_outside: 0\.67\}"
    ):
        prepared(tmp_path / "few", log().with_columns(w=weight), text.replace("0.7}", "0.6}"))


def test_too_many_are_refused_until_the_schema_file_allows_them(tmp_path):
    told = r"shop.yaml, line 6: 20 of 120 positives of task 'order' \(16\.7 %\) lie on rows where"
    told += r" 'click' is 0, more than .* 0\.01 allows: .*\{positives_outside: 0\.17\}"
    with pytest.raises(UserError, match=told):
        prepared(tmp_path, log(), with_most(""))
    target = tmp_path / "data/logs/shop/1.0.0"
    assert not target.exists()
    prepared(tmp_path, log(), with_most("positives_outside: 0.17"))
    assert "positives_outside: 0.17" in (target / "schema_file.yaml").read_text()


@pytest.mark.parametrize(("stray", "drafted"), [(0.0, True), (0.005, False), (0.2, False)])
def test_a_draft_claims_no_relation_that_prepare_refuses(stray, drafted):
    draw = sampled.draw(2)
    click = draw.random(20_000) < 0.3
    order = click & (draw.random(20_000) < 0.5)
    elsewhere = np.flatnonzero(~click)[: round(stray * order.sum() / (1 - stray))]
    order[elsewhere] = True
    made = sampled.draft({"click": click, "order": order}, ("click", "order"))
    task = made.tasks[1]
    assert task.options == ({"upstream": ["click"], "also_report": ["click"]} if drafted else {})
    note = f"{order.sum() - len(elsewhere):,} of {order.sum():,} rows are among those of click: too"
    told = [n for n in task.notes if n.startswith(note) and "upstream: [click]" in n]
    assert len(told) == (not drafted)
    assert (note in sampled.text(made)) == (not drafted)
