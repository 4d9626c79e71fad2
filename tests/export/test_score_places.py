"""An output that can't be written is named, and a call that scored nothing leaves nothing."""

import json

import polars as pl
import pytest
from made_models import FRAME

from dtn_jax.errors import UserError
from dtn_jax.export.score_files import Job
from experiments import score

pytest_plugins = ["score_fixtures"]


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        ("isfile/x.csv", "a file stands where a folder is expected"),
        ("y.csv", "a file stands where a folder is expected"),
        ("/proc/xx.csv", "name a place that can be written"),
        (f"{'x' * 300}.csv", "give a shorter name"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(made_model, made_day, tmp_path, output, remedy):
    (tmp_path / "isfile").write_text("mine")
    (tmp_path / "y.csv.parts").write_text("mine")
    with pytest.raises(UserError, match=rf"the output .*{output} can't be written: .*{remedy}"):
        Job(made_model, [str(made_day)], tmp_path / output)


def test_a_call_that_scored_nothing_leaves_nothing(made_model, tmp_path):
    (FRAME.with_columns(vector=FRAME["vector"].list.head(1))).write_parquet(tmp_path / "b.parquet")
    job = Job(made_model, [str(tmp_path / "b.parquet")], tmp_path / "s.csv", on_bad_rows="error")
    with pytest.raises(UserError, match="list of other than 2 numbers"):
        list(job.run())
    assert [path.name for path in tmp_path.iterdir()] == ["b.parquet"]


def test_the_closing_line_counts_the_rows_that_have_scores(made_model, tmp_path, capsys):
    frame = FRAME.to_dicts()
    frame[1]["vector"] = [1.0]
    pl.DataFrame(frame).write_parquet(tmp_path / "b.parquet")
    score.main(
        [
            f"--model={made_model.folder}",
            f"--input={tmp_path}/b.parquet",
            f"--output={tmp_path}/s.csv",
        ]
    )
    said = capsys.readouterr()
    said = said.out + said.err
    assert "5 of 6 rows are scored, at " in said


def test_a_row_with_a_misfit_keeps_its_other_columns(made_model, tmp_path):
    rows = [row | {"number": n} for n, row in enumerate(FRAME.to_dicts())]
    rows[1]["tags"], rows[2]["word"], rows[4]["number"] = {"a": 1}, ["a"], [4]
    lines = [json.dumps(row) for row in rows]
    lines[3] = "{broken"
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    list(
        Job(made_model, [str(tmp_path / "a.jsonl")], tmp_path / "s.parquet", max_bad_rate=1.0).run()
    )
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got["number"].to_list() == [0, 1, 2, None, None, 5]
    assert got["word"].to_list() == ["a", "b", None, None, "b", "a"]
    assert got["click@all"].is_null().to_list() == [False, True, True, True, True, False]
