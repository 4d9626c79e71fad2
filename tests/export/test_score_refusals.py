"""What scoring refuses, and what it leaves as it is: others' folders, damaged pieces, odd types."""

import polars as pl
import pytest
from made_models import FRAME

from dtn_jax.errors import UserError
from dtn_jax.export import score_files
from dtn_jax.export.file_columns import cast
from dtn_jax.export.score_files import Job
from experiments import score

pytest_plugins = ["score_fixtures"]


def test_a_folder_of_another_is_left_as_it_is(made_model, made_day, tmp_path):
    mine = tmp_path / "s.csv.parts"
    mine.mkdir()
    (mine / "202401.csv").write_text("mine")
    with pytest.raises(UserError, match=r"s\.csv\.parts.* not of this command: .*'202401\.csv'"):
        Job(made_model, [str(made_day)], tmp_path / "s.csv")
    assert [path.name for path in mine.iterdir()] == ["202401.csv"]
    (mine / "202401.csv").unlink()
    (mine / "made_from.json").write_text("{}")
    (mine / "notes.tmp").write_text("mine")
    list(Job(made_model, [str(made_day)], tmp_path / "s.csv").run())
    assert [path.name for path in mine.iterdir()] == ["notes.tmp"]


def test_bad_rows_of_an_earlier_call_end_one_that_wants_none(made_model, tmp_path, monkeypatch):
    monkeypatch.setattr(score_files, "UNIT", {"rows": 2, "size": 100})
    rows = FRAME.to_dicts()
    rows[1]["vector"] = [1.0]
    pl.DataFrame(rows).write_parquet(tmp_path / "b.parquet", row_group_size=2)
    given = (made_model, [str(tmp_path / "b.parquet")], tmp_path / "s.csv")
    with pytest.raises(UserError, match="1 of 6 rows have no scores, more than"):
        list(Job(*given, max_bad_rate=0.0).run())
    with pytest.raises(UserError, match=r"list of other than 2 numbers.*--on_bad_rows=null scores"):
        list(Job(*given, on_bad_rows="error").run())
    assert not (tmp_path / "s.csv").exists()


def test_lists_where_single_values_belong_are_told():
    with pytest.raises(UserError, match=r"a\.jsonl: column 'x' holds lists, where .* has String"):
        cast(pl.Series("x", [["a"]]), pl.String(), "a.jsonl")


def test_bytes_that_the_model_does_not_read_spoil_no_row(made_model, tmp_path, capsys):
    frame = FRAME.with_columns(photo=pl.lit(b"\xff\xd8"), word=FRAME["word"].cast(pl.Binary))
    frame.write_parquet(tmp_path / "b.parquet")
    output = tmp_path / "s.parquet"
    score.main(
        [f"--model={made_model.folder}", f"--input={tmp_path}/b.parquet", f"--output={output}"]
    )
    said = capsys.readouterr().out
    assert "leaves out columns of lists: tags, tags_weights, vector; of bytes: photo (" in said
    got = pl.read_parquet(output)
    assert got["word"].to_list() == FRAME["word"].to_list()
    assert got["click@all"].null_count() == 0
