"""`score --labels`, and `compare` of the files that it writes.

Labels, groups and weights are those that `prepare` makes, and the models' own.
"""

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import shop
from labelled_logs import SCHEMA, log, prepared, scored
from made_models import log_model

from dtn_jax.cli import compare, score
from dtn_jax.errors import UserError
from dtn_jax.export.score_columns import ScoredBy

pytest_plugins = ["score_fixtures"]


WRITTEN = ["label/click", "label/order", "label/watch", "group", "sample_weight"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the set, the log's test rows, a model)."""
    folder = tmp_path_factory.mktemp("labelled")
    data = prepared(folder)
    return data, log().tail(data.rows["test"]), log_model(data, folder / "model")


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
    data = prepared(tmp_path, schema, user_id="group")
    rows = log().rename({"user_id": "group"}).tail(20)
    got = scored(log_model(data, tmp_path / "model"), rows, tmp_path / "s.parquet", "--labels")
    assert pl.read_parquet(got)["group"].n_unique() == rows["group"].n_unique()
    rows = rows.with_columns(pl.lit(0.5).alias("label/click"))
    with pytest.raises(UserError, match="scoring writes a column 'label/click', too"):
        scored(tmp_path / "model", rows, tmp_path / "s2.parquet", "--labels")


# ---------------------------------------------------------------- compare


KEY = "--key=request_id"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(the set, the log's test rows, two models, and what each scores with labels)."""
    folder = tmp_path_factory.mktemp("compared")
    data = prepared(folder)
    rows = log().tail(data.rows["test"])
    models = [log_model(data, folder / "a"), log_model(data, folder / "b", views=2)]
    files = [scored(m, rows, folder / f"{m.name}.parquet", "--labels") for m in models]
    return data, rows, models, files


@pytest.fixture(scope="module")
def plain(pair, tmp_path_factory):
    """{task: (two files without labels, of models of a set that has this task alone)}."""
    folder, files = tmp_path_factory.mktemp("plain"), {}
    lines = {line.split(":")[0].strip(): line for line in SCHEMA.splitlines()}
    for task in ("click", "watch"):
        others = [lines[name] for name in {"click", "order", "watch"} - {task}]
        schema = "\n".join(line for line in SCHEMA.splitlines() if line not in others)
        data = prepared(folder / task, schema)
        models = [
            log_model(data, folder / task / "a"),
            log_model(data, folder / task / "b", views=2),
        ]
        files[task] = [scored(m, pair[1], folder / task / f"{m.name}.parquet") for m in models]
    return files


def rewritten(path, *dropped, **changes):
    """The same file without some columns, or of another model."""
    other = path.replace(".parquet", f"_{'_'.join([*dropped, *changes])}.parquet")
    by = dataclasses.replace(ScoredBy.read(pathlib.Path(path)), **changes)
    table = pq.read_table(path).drop_columns(list(dropped))
    pq.write_table(table.replace_schema_metadata(by.metadata()), other)
    return other


def compared(*arguments):
    return compare.compared(compare.parse([*arguments, KEY, "--draws=200"]))


def test_groups_are_drawn_and_labels_are_the_models(pair, capsys):
    data, _, _, (one, two) = pair
    a, _, found = compared(one, two)
    stored = shop.rows_of(data, "test")
    pairs = {*zip(a[0].group, stored["group"])}
    assert len(pairs) == len({*a[0].group}) == len({*stored["group"]})
    known = stored["label_mask"][:, 2] == 1
    labels = stored["labels"][known, 2]
    np.testing.assert_array_equal(a[0].labels["watch"][known], labels)
    b, *_ = compared(rewritten(one, "user_id"), two)  # the column `group` is enough
    np.testing.assert_array_equal(b[0].group, a[0].group)
    (rmse,) = (d for d in found if d.metric == "rmse")
    error = pl.read_parquet(one)["watch@all"].to_numpy()[known] - labels
    np.testing.assert_allclose(rmse.a[0], np.sqrt(np.mean(error**2)), rtol=1e-5)
    assert {d.key for d in found} == {"click@all", "order@click", "order@all", "watch@all"}
    compare.main([one, two, KEY, "--draws=200"])
    said = " ".join(capsys.readouterr().out.split())
    assert "exchanging the scores of groups" in said
    assert "taken as independent" not in said


def test_a_label_that_is_a_column_is_that_of_the_model(plain):
    """Not the column that has the name of the task."""
    files = plain["click"]
    a, *_ = compared(*files)
    frame = pl.read_parquet(files[0])
    np.testing.assert_array_equal(a[0].labels["click"], frame["clicked"])
    assert len({*zip(a[0].group, frame["user_id"])}) == frame["user_id"].n_unique()


def test_models_of_other_labels_or_groups_are_not_compared(pair):
    *_, (one, two) = pair
    by = ScoredBy.read(pathlib.Path(two))
    labels = by.labels | {"watch": dataclasses.replace(by.labels["watch"], text="watch")}
    told = r"the unit of 'watch' is `log1p.* == 1` in .* and `watch` in that of the other"
    with pytest.raises(UserError, match=told):
        compared(one, rewritten(two, labels=labels))
    other = rewritten(two, group="session")
    with pytest.raises(UserError, match=r"group of a row .* is `user_id` in the .* and `session`"):
        compared(one, other)
    assert compared(one, other, "--group=user_id")


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


def test_models_that_weigh_rows_otherwise_are_not_compared(pair):
    *_, (one, two) = pair
    with pytest.raises(
        UserError, match="the weight of a row is `none` in the model of the one and `w`"
    ):
        compared(one, rewritten(two, weight="w", written=False))


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
    assert a[0].weighted
    np.testing.assert_array_equal(a[0].weight, rows["w"])
    other = scored(weighing, rows.with_columns(pl.col("w") * 2), tmp_path / "o.parquet", "--labels")
    with pytest.raises(
        UserError, match=r"the weight differs in 150 of 150 rows, the first where '"
    ):
        compared(str(tmp_path / "s.parquet"), other)
    lacking = scored(weighing, rows.drop("w"), tmp_path / "lacking.parquet")
    with pytest.raises(UserError, match=r"count rows by their weights.*no column 'w'"):
        compared(lacking, lacking)


def test_a_named_score_is_read_even_beside_one_of_the_tasks_name(pair, tmp_path):
    path = tmp_path / "both.parquet"
    pl.read_parquet(pair[3][0]).with_columns(p=1 - pl.col("click@all")).write_parquet(path)
    a, *_ = compared(str(path), pair[3][0], "--columns=click=p:label/click")
    b, *_ = compared(pair[3][0], pair[3][0])
    np.testing.assert_allclose(a[0].scores["click@all"], -b[0].scores["click@all"], atol=1e-6)


def test_a_label_is_not_what_it_is_computed_from(plain):
    """The unit of the score is log1p(watch): against watch the worse model may win."""
    for more, told in {
        (): r"no label of task 'watch', which is `log1p\(watch\) where clicked == 1`: expected ",
        ("--columns=watch=watch@all:watch",): "column 'watch' is not the label of 'watch'",
    }.items():
        with pytest.raises(UserError, match=f"{told}.*score the rows again with --labels"):
            compare.main([*plain["watch"], KEY, *more])


def test_groups_are_those_of_the_model_or_asked_for(pair, plain, capsys):
    whole = plain["click"]
    lacking = [rewritten(path, "user_id") for path in whole]
    told = r"in groups by 'user_id', and there is no column 'user_id'\. .*--group=none"
    with pytest.raises(UserError, match=told):
        compare.main([*lacking, KEY])
    a, b, _ = compared(whole[0], lacking[1])
    assert (a[0].group is None, b[0].group is None) == (False, True)
    a, *_ = compared(*lacking, "--group=item")
    assert len(np.unique(a[0].group)) == pair[1]["item"].n_unique()
    compare.main([*lacking, KEY, "--group=none", "--draws=200"])
    said = capsys.readouterr().out
    assert "exchanging the scores of rows" in said
    assert "independent" not in said
