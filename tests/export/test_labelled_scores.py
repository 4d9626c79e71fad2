"""`score --labels`, and `compare` of the files that it writes.

Labels, groups and weights are those that `prepare` makes, and the models' own.
"""

import numpy as np
import polars as pl
import pytest
import shop
from made_models import log_model
from world import log

from dtn_jax.cli import compare, score
from dtn_jax.errors import UserError

SCHEMA = """
name: shop
fields:
  item:
  price: {kind: numeric}
tasks:
  click: {label: clicked}
  order: {label: order == 'yes', space: click, also_report: [all]}
  watch: {kind: regression, label: log1p(watch), known: clicked == 1}
group: user_id
weight: w
time: t
"""


def rows_of_log():
    number = pl.int_range(pl.len())
    return log.rows().select(
        "item",
        "price",
        "w",
        request_id=number,
        t=number,
        user_id=pl.format("u{}", "user"),
        clicked="click",
        click=1 - pl.col("click"),  # not the label, whatever its name
        order=pl.when(pl.col("order") == 1).then(pl.lit("yes")).otherwise(pl.lit("no")),
        watch="seconds",
    )


def scored(model, rows, output, *more):
    """The Parquet file that `score` writes of a table; what it writes of it is beside it."""
    given = output.with_name(f"{output.stem}_rows.parquet")
    rows.write_parquet(given)
    score.main([f"--model={model}", f"--input={given}", f"--output={output}", *more])
    return str(output)


WRITTEN = ["label/click", "label/order", "label/watch", "group", "sample_weight"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the set, the log's test rows, a model)."""
    folder = tmp_path_factory.mktemp("labelled")
    data = log.prepared(folder, rows_of_log(), SCHEMA)
    return data, rows_of_log().tail(data.rows["test"]), log_model(data, folder / "a")


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_they_are_those_of_the_prepared_set(made, tmp_path, form):
    data, rows, folder = made
    stored = shop.rows_of(data, "test")
    given, output = tmp_path / f"day.{form}", tmp_path / "s.parquet"
    getattr(rows, f"write_{form}")(given)
    score.main([f"--model={folder}", f"--input={given}", f"--output={output}", "--labels"])
    got = pl.read_parquet(output)
    scores = ["click@all", "order@click", "order@all", "watch@all"]
    assert got.columns == [*rows.columns, *scores, *WRITTEN]
    for i, task in enumerate(data.schema.task_names):
        expected = np.where(stored["label_mask"][:, i], stored["labels"][:, i], np.nan)
        np.testing.assert_array_equal(got[f"label/{task}"].fill_null(np.nan), expected)
    assert got["label/watch"].null_count() == int((rows["clicked"] == 0).sum())
    for name in ("group", "sample_weight"):
        np.testing.assert_array_equal(got[name], stored[name])


def test_a_row_that_prepare_would_reject_is_bad(made, tmp_path, capsys):
    _, rows, folder = made
    changed = rows.with_columns(rows["clicked"].scatter(3, 2), rows["user_id"].scatter(5, None))
    got = pl.read_parquet(scored(folder, changed, tmp_path / "s.parquet", "--labels"))
    bad = np.flatnonzero(got["click@all"].is_null())
    assert bad.tolist() == [3, 5]
    assert got[bad][:, WRITTEN].null_count().row(0) == (2,) * len(WRITTEN)
    said = capsys.readouterr().out
    assert "1 of 150 rows have no scores: label of 'click' outside its range, 0 or 1" in said
    assert "1 of 150 rows have no scores: missing group" in said
    with pytest.raises(UserError, match=r"label of 'watch'.* unknown column 'watch'"):
        scored(folder, rows.drop("watch"), tmp_path / "lacking.parquet", "--labels")


def test_a_group_that_is_called_group_is_written_once(tmp_path):
    schema = SCHEMA.replace("user_id", "group").replace("weight: w\n", "")
    rows = rows_of_log().rename({"user_id": "group"})
    data, rows = log.prepared(tmp_path, rows, schema), rows.tail(20)
    got = scored(log_model(data, tmp_path / "model"), rows, tmp_path / "s.parquet", "--labels")
    assert pl.read_parquet(got)["group"].n_unique() == rows["group"].n_unique()
    rows = rows.with_columns(pl.lit(0.5).alias("label/click"))
    with pytest.raises(UserError, match="scoring writes a column 'label/click', too"):
        scored(tmp_path / "model", rows, tmp_path / "s2.parquet", "--labels")


# ---------------------------------------------------------------- compare


KEY = "--key=request_id"


@pytest.fixture(scope="module")
def pair(made, tmp_path_factory):
    """(the set, the log's test rows, two models, and what each scores with labels)."""
    (data, rows, model), folder = made, tmp_path_factory.mktemp("compared")
    models = [model, log_model(data, folder / "b", views=2)]
    files = [scored(m, rows, folder / f"{m.name}.parquet", "--labels") for m in models]
    return data, rows, models, files


def compared(*arguments):
    return compare.compared([*arguments, KEY, "--draws=200"])[1]


def test_groups_are_drawn_and_labels_are_the_models(pair, capsys):
    data, _, _, (one, two) = pair
    a, _, found = compared(one, two)
    stored = shop.rows_of(data, "test")
    pairs = {*zip(a[0].group, stored["group"])}
    assert len(pairs) == len({*a[0].group}) == len({*stored["group"]})
    known = stored["label_mask"][:, 2] == 1
    labels = stored["labels"][known, 2]
    np.testing.assert_array_equal(a[0].labels["watch"][known], labels)
    (rmse,) = (d for d in found if d.metric == "rmse")
    error = pl.read_parquet(one)["watch@all"].to_numpy()[known] - labels
    np.testing.assert_allclose(rmse.a[0], np.sqrt(np.mean(error**2)), rtol=1e-5)
    assert {d.key for d in found} == {"click@all", "order@click", "order@all", "watch@all"}
    compare.main([one, two, KEY, "--draws=200"])
    said = " ".join(capsys.readouterr().out.split())
    assert "exchanging the scores of groups" in said


def test_files_that_say_nothing_of_groups_are_asked_for_them(pair, tmp_path, capsys):
    *_, (one, two) = pair
    others = []
    for path in (one, two):  # polars keeps no metadata
        others.append(str(tmp_path / f"{len(others)}.parquet"))
        pl.read_parquet(path).drop("group").write_parquet(others[-1])
    with pytest.raises(
        UserError, match=r"p-values would be too small\. Give --group=COLUMN, or --"
    ):
        compare.main([*others, KEY])
    compare.main([*others, KEY, "--draws=200", "--group=none"])
    assert "exchanging the scores of rows" in capsys.readouterr().out
    compare.main([others[0], two, KEY, "--draws=200"])
    assert "exchanging the scores of groups" in capsys.readouterr().out


def test_rows_that_are_bad_on_both_sides_do_not_count(pair, tmp_path):
    _, rows, models, _ = pair
    changed = rows.with_columns(rows["price"].cast(pl.String).scatter(3, "cheap"))
    files = [scored(m, changed, tmp_path / f"{m.name}.parquet", "--labels") for m in models]
    *_, found = compared(*files)
    assert {d.rows for d in found if d.key == "click@all"} == {len(rows) - 1}
    labelled = pl.read_parquet(files[0]).with_columns(pl.lit(0.0).alias("label/click"))
    labelled.write_parquet(tmp_path / "labelled.parquet")
    with pytest.raises(UserError, match=r"1 of 150 scores in column '.*' are missing"):
        compared(str(tmp_path / "labelled.parquet"), files[1])


def test_rows_count_by_the_weights_of_models_that_weight(pair, tmp_path):
    data, rows, *_ = pair
    weighing = log_model(data, tmp_path / "weighing", config={"evaluate.sample_weights": True})
    a, *_ = compared(*[scored(weighing, rows, tmp_path / "s.parquet", "--labels")] * 2)
    np.testing.assert_array_equal(a[0].weight, rows["w"])
    other = scored(weighing, rows.with_columns(pl.col("w") * 2), tmp_path / "o.parquet", "--labels")
    with pytest.raises(
        UserError, match=r"the weight differs in 150 of 150 rows, the first where '"
    ):
        compared(str(tmp_path / "s.parquet"), other)


def test_a_named_score_is_read_even_beside_one_of_the_tasks_name(pair, tmp_path):
    path = tmp_path / "both.parquet"
    pl.read_parquet(pair[3][0]).with_columns(p=1 - pl.col("click@all")).write_parquet(path)
    a, *_ = compared(str(path), pair[3][0], "--columns=click=p:label/click")
    b, *_ = compared(pair[3][0], pair[3][0])
    np.testing.assert_allclose(a[0].scores["click@all"], -b[0].scores["click@all"], atol=1e-6)


def test_files_without_the_models_labels_are_refused(pair, tmp_path):
    """A raw column may be in another unit than the score: against it the worse model may win."""
    _, rows, models, _ = pair
    bare = scored(models[0], rows, tmp_path / "bare.parquet")
    with pytest.raises(UserError, match="no labels: score the rows again with --labels"):
        compare.main([bare, bare, KEY])
