"""What scoring counts: rows without scores, which must not be many, and values that are unknown."""

import numpy as np
import polars as pl
import pytest
from made_models import FRAME

from dtn_jax.errors import UserError
from dtn_jax.export import score_files
from dtn_jax.export.tally import counted
from experiments import score

pytest_plugins = ["score_fixtures"]


def scored(made_model, folder, rows, *more):
    """The output of the command."""
    pl.DataFrame(rows).write_parquet(folder / "rows.parquet")
    given = [f"--model={made_model.folder}", f"--input={folder}/rows.parquet"]
    score.main([*given, f"--output={folder}/s.parquet", *more])
    return pl.read_parquet(folder / "s.parquet")


@pytest.mark.parametrize("bad", [3, 4, 6])
def test_too_many_bad_rows_leave_no_output(made_model, tmp_path, bad, monkeypatch, capsys):
    monkeypatch.setattr(score_files, "UNIT", {"rows": 2, "size": 100})
    rows = [row | {"vector": [1.0]} if n < bad else row for n, row in enumerate(FRAME.to_dicts())]
    if bad > 3:
        told = (
            f"^{bad} of 6 rows have no scores, more than --max_bad_rate=0.5 allows:\n  {bad} of 6"
        )
        with pytest.raises(UserError, match=f"{told} rows have no scores: list of other than 2"):
            scored(made_model, tmp_path, rows)
        assert not (tmp_path / "s.parquet").exists()
        with pytest.raises(UserError, match=r"more than --max_bad_rate=0\.6 "):
            scored(made_model, tmp_path, rows, "--max_bad_rate=0.6")
    capsys.readouterr()
    found = scored(made_model, tmp_path, rows, f"--max_bad_rate={max(0.5, bad / 6)}")
    assert found[made_model.outputs[0]].null_count() == bad
    assert ("resuming" in capsys.readouterr().out) == (bad > 3)  # what was scored stays scored


def test_a_rate_is_a_share(made_model, tmp_path):
    with pytest.raises(UserError, match="--max_bad_rate=2: expected a share"):
        scored(made_model, tmp_path, FRAME.to_dicts(), "--max_bad_rate=2")


def test_unknown_values_are_told_where_they_are_many(made_model, tmp_path, capsys):
    scored(made_model, tmp_path, FRAME.to_dicts())
    said = capsys.readouterr().out
    assert "unknown to the model" not in said
    assert "warning" not in said
    assert "leaves out columns of lists: tags, tags_weights, vector" in said
    rows = [row | {"word": "never"} for row in FRAME.to_dicts()]
    rows[0]["id"] = 77
    rows[1]["vector"] = None
    scored(made_model, tmp_path, rows, "--replace", "--columns=id")
    said = capsys.readouterr().out
    assert "missing or not in its training: word 100.0 %, id 16.7 %" in said
    assert said.count("warning: the model knows no value of field 'word'") == 1
    assert "lists" not in said


def test_bad_rows_and_padding_are_not_counted(made_model):
    rows = FRAME.to_dicts()
    rows[0] |= {"vector": [1.0], "word": "never"}
    rows[1] |= {"word": "never", "tags": [], "tags_weights": []}
    encoded = made_model.encode(rows)
    fields = made_model.schema.fields
    found = counted(fields, encoded)
    assert found["word"] == (5, 1)
    good = [row["tags"] for row in rows[2:]]
    assert found["tags"] == (sum(map(len, good)), 0)
    assert np.isin(list(found), [f.name for f in fields]).all()
