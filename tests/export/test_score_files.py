"""Files are scored in order, whatever their format; what was scored before a kill stays.

Nothing is lost where parts become the output.
"""

import os

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


def cut(job, units=1):
    """Scores so many units of four pieces, and ends as by a kill."""
    for done, _ in enumerate(job.run()):
        if done == 4 * units + 2:
            return


def parts_of(output):
    """The folder of its parts."""
    (found,) = output.with_name(f"{output.name}.parts").glob("?" * 16)
    return found


@pytest.fixture
def day(tmp_path):
    """A file of three units."""
    rows().write_parquet(tmp_path / "a.parquet", row_group_size=50)
    return tmp_path / "a.parquet"


@pytest.mark.parametrize(
    ("source", "suffix"), [("parquet", ".csv"), ("jsonl", ".parquet"), ("parquet", ".jsonl")]
)
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
    assert (job.account.rows, job.account.rejected) == (ROWS, 0)
    assert not (tmp_path / f"scores{suffix}.parts").exists()
    rows(0).write_parquet(tmp_path / "no_rows.parquet")
    run(made_model, tmp_path / "no_rows.parquet", tmp_path / f"none{suffix}")
    if suffix != ".jsonl":
        assert read(tmp_path / f"none{suffix}").columns[-1] == made_model.outputs[-1]


def test_what_was_scored_before_a_kill_stays(made_model, day, tmp_path):
    whole, out = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    run(made_model, day, whole)
    cut(Job(made_model, [str(day)], out, say=print))
    assert not out.exists()
    parts = parts_of(out)
    times = (parts / "000000.arrow").stat().st_mtime_ns
    (parts / "000001.parquet.ab.tmp").write_text("half")
    (parts / "output.parquet").write_bytes(b"half of the output")
    job = Job(made_model, [str(day)], out, say=(told := []).append)
    assert "resuming: 1 of 3 pieces" in told[0]
    next(rest := job.run())
    assert (parts / "000000.arrow").stat().st_mtime_ns == times  # not made anew
    list(rest)
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.parent.exists()


@pytest.mark.parametrize(
    ("harm", "suffix"),
    [("flipped", ".parquet"), ("cut", ".csv"), ("cut", ".parquet"), ("gone", ".jsonl")],
)
def test_a_damaged_part_is_scored_again(made_model, day, tmp_path, suffix, harm):
    """One that is damaged before the command goes on, or while it does."""
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    run(made_model, day, whole)
    cut(Job(made_model, [str(day)], out, say=print), units=1 if harm == "flipped" else 2)
    part = parts_of(out) / "000000.arrow"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 16
    if harm == "flipped":
        part.write_bytes(content)
        told, _ = run(made_model, day, out)
        assert not any("resuming" in line for line in told)
    else:
        job = Job(made_model, [str(day)], out, say=lambda _: None)  # has checked the part
        part.unlink() if harm == "gone" else os.truncate(part, len(content) // 2)
        with pytest.raises(UserError, match=rf"{part.name} is damaged: .*the same command again"):
            list(job.run())
        assert not out.exists()
        told, _ = run(made_model, day, out)
        assert "resuming" in told[0]  # the others are kept
    assert out.read_bytes() == whole.read_bytes()


def test_other_rows_begin_anew(made_model, tmp_path):
    """Though the file has its size."""
    given, out, frame = tmp_path / "a.jsonl", tmp_path / "s.parquet", rows()
    other = frame.with_columns(id=6 - pl.col("id"))
    frame.write_ndjson(given)
    size = given.stat().st_size
    job = Job(made_model, [str(given)], out, say=print)
    with pytest.raises(UserError, match="another process writes"):
        Job(made_model, [str(given)], out, say=print)
    cut(job)
    other.write_ndjson(given)
    assert given.stat().st_size == size
    told, _ = run(made_model, given, out)
    assert "starting again" in told[0]
    got = pl.read_parquet(out).select(made_model.outputs)
    np.testing.assert_allclose(got, expected(made_model, other), rtol=1e-6)


def test_an_output_is_not_overwritten(made_model, day, tmp_path):
    out = tmp_path / "s.parquet"
    out.write_text("mine")
    with pytest.raises(UserError, match=r"is there already.*--replace"):
        run(made_model, day, out)
    run(made_model, day, out, replace=True)
    assert len(pl.read_parquet(out)) == ROWS
