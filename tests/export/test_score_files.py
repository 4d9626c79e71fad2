"""Files are scored in order, whatever their format; what was scored before a kill stays."""

import errno
import json

import numpy as np
import polars as pl
import pytest
from made_models import FRAME

from dtn_jax.errors import UserError
from dtn_jax.export import score_files
from dtn_jax.export.score_files import Job

pytest_plugins = ["score_fixtures"]

ROWS = 300


def rows(count=ROWS, seed=0):
    """Rows as FRAME has them, each with its number."""
    draw = np.random.default_rng(seed)
    places = pl.Series(draw.integers(0, len(FRAME), count))
    frame = FRAME.select(pl.all().gather(places))
    speed = draw.normal(size=count)
    return frame.with_columns(speed=pl.Series(speed), number=pl.Series(np.arange(count)))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(score_files, "ROWS", 32)
    monkeypatch.setattr(score_files, "UNIT", {"rows": 100, "size": 4000})


def run(made_model, given, output, **changes):
    """What was told, and the job."""
    told = []
    job = Job(made_model, [str(given)], output, say=told.append, **changes)
    list(job.run())
    return told, job


def read(path):
    reader = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}
    return reader[path.suffix](path)


def expected(made_model, frame):
    return made_model.score(frame).to_numpy()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("source", ["parquet", "jsonl"])
def test_rows_keep_their_order_and_columns(made_model, tmp_path, source, suffix):
    frame = rows()
    for n, part in enumerate((frame[:130], frame[130:])):
        path = tmp_path / f"day{n}.{source}"
        part.write_parquet(path, row_group_size=40) if source == "parquet" else part.write_ndjson(
            path
        )
    out = tmp_path / f"scores{suffix}"
    _, job = run(made_model, tmp_path / f"day*.{source}", out)
    got = read(out)
    assert got.columns == ["word", "id", "size", "speed", "number", *made_model.outputs]
    assert got["number"].to_list() == list(range(ROWS))
    np.testing.assert_allclose(
        got.select(made_model.outputs), expected(made_model, frame), rtol=1e-6
    )
    assert (job.tally.account.rows, job.tally.account.rejected) == (ROWS, 0)
    assert not (tmp_path / f"scores{suffix}.parts").exists()


def test_columns_are_chosen(made_model, tmp_path):
    rows().write_parquet(tmp_path / "a.parquet")
    run(made_model, tmp_path / "a.parquet", tmp_path / "s.parquet", columns=["number", "_file"])
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got.columns == ["number", "_file", *made_model.outputs]
    assert set(got["_file"]) == {"a.parquet"}
    with pytest.raises(UserError, match=r"unknown column to keep: 'nmber'\. Did you mean 'number'"):
        run(made_model, tmp_path / "a.parquet", tmp_path / "t.parquet", columns=["nmber"])
    with pytest.raises(UserError, match="'click@all' already"):
        both = rows().with_columns(pl.lit(1).alias("click@all"))
        both.write_parquet(tmp_path / "b.parquet")
        run(made_model, tmp_path / "b.parquet", tmp_path / "t.parquet")


def test_bad_rows_have_no_scores_and_are_counted(made_model, tmp_path):
    lines = [json.dumps(row) for row in rows().to_dicts()]
    lines[7] = '{"word": broken'
    lines[9] = lines[9].replace('"vector": [', '"vector": [0.5, ')
    lines[200] = lines[200].replace('"size": ', '"size": "x", "other": ')
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    out = tmp_path / "s.parquet"
    _, job = run(made_model, tmp_path / "a.jsonl", out)
    got = pl.read_parquet(out)
    bad = [7, 9, 200]
    missing = got["stars@all"].is_null().to_numpy()
    assert np.flatnonzero(missing).tolist() == bad
    assert got["number"][7] is None
    assert got["number"].to_list()[8:] == list(range(8, ROWS))
    good = expected(made_model, rows().filter(~pl.Series(missing)))
    np.testing.assert_allclose(got.select(made_model.outputs).to_numpy()[~missing], good, rtol=1e-6)
    assert job.tally.account.rejected == 3
    assert any("list of other than 2 numbers" in line for line in job.tally.account.summary())
    with pytest.raises(UserError, match=r"row 8.*--on_bad_rows=null"):
        run(made_model, tmp_path / "a.jsonl", tmp_path / "t.parquet", on_bad_rows="error")


def test_what_was_scored_before_a_kill_stays(made_model, tmp_path):
    rows().write_parquet(tmp_path / "a.parquet", row_group_size=50)
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    run(made_model, tmp_path / "a.parquet", whole)
    job = Job(made_model, [str(tmp_path / "a.parquet")], cut, say=print)
    for done, _ in enumerate(job.run()):
        if done == 6:
            break  # as by a kill: the first piece is whole
    assert not cut.exists()
    first = tmp_path / "cut.parquet.parts" / "000000.arrow"
    times = first.stat().st_mtime_ns
    (first.parent / "000001.parquet.ab.tmp").write_text("half")
    job = Job(made_model, [str(tmp_path / "a.parquet")], cut, say=(told := []).append)
    assert "resuming: 1 of 3 pieces" in told[0]
    next(rest := job.run())
    assert first.stat().st_mtime_ns == times  # not made anew
    list(rest)
    assert cut.read_bytes() == whole.read_bytes()


def test_a_damaged_piece_is_scored_again(made_model, tmp_path):
    rows().write_parquet(tmp_path / "a.parquet", row_group_size=50)
    whole, cut = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    run(made_model, tmp_path / "a.parquet", whole)
    for done, _ in enumerate(Job(made_model, [str(tmp_path / "a.parquet")], cut, say=print).run()):
        if done == 6:
            break
    piece = tmp_path / "cut.parquet.parts" / "000000.arrow"
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 16
    piece.write_bytes(content)
    told, _ = run(made_model, tmp_path / "a.parquet", cut)
    assert not any("resuming" in line for line in told)
    assert cut.read_bytes() == whole.read_bytes()


def test_other_rows_begin_anew(made_model, tmp_path):
    path, out = tmp_path / "a.parquet", tmp_path / "s.parquet"
    rows().write_parquet(path, row_group_size=50)
    job = Job(made_model, [str(path)], out, say=print)
    with pytest.raises(UserError, match="another process is writing"):
        Job(made_model, [str(path)], out, say=print)
    for done, _ in enumerate(job.run()):
        if done == 6:
            break
    other = rows(seed=1)
    other.write_parquet(path, row_group_size=50)
    told, _ = run(made_model, path, out)
    assert "begun anew" in told[0]
    got = pl.read_parquet(out).select(made_model.outputs)
    np.testing.assert_allclose(got, expected(made_model, other), rtol=1e-6)


def test_an_output_is_not_overwritten(made_model, tmp_path):
    rows().write_parquet(tmp_path / "a.parquet")
    out = tmp_path / "s.parquet"
    out.write_text("mine")
    with pytest.raises(UserError, match=r"is there already.*--replace"):
        run(made_model, tmp_path / "a.parquet", out)
    run(made_model, tmp_path / "a.parquet", out, replace=True)
    assert len(pl.read_parquet(out)) == ROWS
    for name, told in (("s.txt", "ends in none of"), ("s3://b/s.parquet", "not local")):
        with pytest.raises(UserError, match=told):
            run(made_model, tmp_path / "a.parquet", name if "://" in name else tmp_path / name)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_full_disk_is_told_and_what_was_scored_stays(made_model, tmp_path, monkeypatch, suffix):
    rows().write_parquet(tmp_path / "a.parquet", row_group_size=50)
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"s{suffix}"
    run(made_model, tmp_path / "a.parquet", whole)
    write, done = score_files.Part.write, []

    def full(self, frame):
        done.append(write(self, frame))
        if len(done) == 6:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(score_files.Part, "write", full)
        with pytest.raises(UserError, match=r"No space left on device; make room.*scored stays in"):
            run(made_model, tmp_path / "a.parquet", out)
    assert not out.exists()
    told, _ = run(made_model, tmp_path / "a.parquet", out)
    assert "resuming: 1 of 3 pieces" in told[0]
    assert out.read_bytes() == whole.read_bytes()


def test_a_missing_column_is_named_with_its_file(made_model, tmp_path):
    rows().drop("speed").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: the rows have no column 'speed'"):
        run(made_model, tmp_path / "a.parquet", tmp_path / "s.parquet")


def test_lists_are_not_looked_for_in_csv(made_model, tmp_path):
    text = rows().with_columns(pl.lit("a b").alias("tags"), pl.lit("1").alias("tags_weights"))
    text.with_columns(vector=pl.lit("0 1")).write_csv(tmp_path / "a.csv")
    with pytest.raises(
        UserError, match=r"'tags' holds String, expected lists, which CSV does not have"
    ):
        run(made_model, tmp_path / "a.csv", tmp_path / "s.parquet")


def test_files_without_rows(made_model, tmp_path):
    rows(0).write_parquet(tmp_path / "a.parquet")
    for suffix in (".parquet", ".csv"):
        run(made_model, tmp_path / "a.parquet", tmp_path / f"s{suffix}")
        assert read(tmp_path / f"s{suffix}").columns[-1] == made_model.outputs[-1]
