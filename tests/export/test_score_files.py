"""Files are scored in order, whatever their format; what was scored before a kill stays.

Nothing is lost where parts become the output: bad rows have no scores and are counted; kept columns
lose nothing, or are refused before anything is scored.
"""

import datetime
import decimal
import json
import os

import numpy as np
import polars as pl
import pytest
from made_models import FRAME, frame_model

from dtn_jax.cli import score
from dtn_jax.errors import UserError
from dtn_jax.export import load, score_files
from dtn_jax.export.score_files import Job

ROWS = 300


def rows(count=ROWS, seed=0):
    """Rows as FRAME has them, each with its number."""
    draw = np.random.default_rng(seed)
    places = pl.Series(draw.integers(0, len(FRAME), count))
    frame = FRAME.select(pl.all().gather(places))
    speed = draw.normal(size=count)
    return frame.with_columns(speed=pl.Series(speed), number=pl.Series(np.arange(count)))


@pytest.fixture(scope="module")
def made_model(tmp_path_factory):
    """A small model that nobody trained."""
    folder = tmp_path_factory.mktemp("models") / "made"
    frame_model(folder)
    return load(folder, largest=64)


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


# --- what rows and columns become ---------------------------------------------------------------

LONG = decimal.Decimal("12345678901234567891")
PRICE = decimal.Decimal("12345678901234567.25")


@pytest.fixture
def odd(tmp_path):
    """A day with columns of odd types beside those of the model, whose `id` is a decimal."""
    six = len(FRAME)
    frame = FRAME.with_columns(
        id=FRAME["id"].cast(pl.Decimal(38, 0)),
        key=pl.Series([LONG + n for n in range(six)], dtype=pl.Decimal(38, 0)),
        price=pl.Series([PRICE, None] * 3, dtype=pl.Decimal(20, 2)),
        prices=pl.Series([[PRICE]] * six, dtype=pl.List(pl.Decimal(20, 2))),
        took=pl.Series([datetime.timedelta(seconds=n) for n in range(six)]),
        photo=pl.Series([b"\xff\xd8"] * six),
        photos=pl.Series([[b"\xff\xd8", b"a"]] * six),
    )
    frame.write_parquet(tmp_path / "odd.parquet")
    frame.write_ipc(tmp_path / "odd.arrow", compat_level=pl.CompatLevel.oldest())
    return frame


def test_text_keeps_all_digits(made_model, odd, tmp_path):
    for suffix, reader in ((".csv", pl.read_csv), (".jsonl", pl.read_ndjson)):
        run(made_model, tmp_path / "odd.parquet", tmp_path / f"s{suffix}", columns=["key", "price"])
        got = reader(
            tmp_path / f"s{suffix}", schema_overrides={"key": pl.String, "price": pl.String}
        )
        assert got["key"].to_list() == [str(LONG + n) for n in range(len(FRAME))]
        assert got["price"].to_list() == [str(PRICE), None] * 3


@pytest.mark.parametrize("source", ["parquet", "arrow"])
def test_parquet_keeps_decimals_and_bytes(made_model, odd, tmp_path, source):
    names = ["id", "key", "price", "prices", "photo", "photos", "took"]
    _, job = run(made_model, tmp_path / f"odd.{source}", tmp_path / "s.parquet", columns=names)
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got.select(names).equals(odd.select(names))
    assert got.schema["key"] == pl.Decimal(38, 0)
    assert job.account.rejected == 0
    expected = made_model.score(FRAME)
    np.testing.assert_allclose(got.select(made_model.outputs), expected.to_numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    ("names", "suffix", "told"),
    [
        (
            ["took"],
            ".csv",
            "'took' holds Duration.*, which a file .csv does not have",
        ),
        (["prices"], ".csv", "'prices' holds List.*, which a file .csv does not have"),
        (["photo"], ".csv", "'photo' holds Binary, which a file .csv does not have"),
        (["photos"], ".jsonl", "'photos' holds List.Binary., which a file .jsonl does not have"),
        (["kye"], ".csv", r"unknown column to keep: 'kye'\. Did you mean 'key'"),
        (["click@all"], ".csv", "scoring writes a column 'click@all', too"),
    ],
)
def test_columns_that_cannot_be_kept_are_refused_at_the_start(
    made_model, odd, tmp_path, names, suffix, told
):
    odd.with_columns(pl.lit(1).alias("click@all")).write_parquet(tmp_path / "odd.parquet")
    given = [str(tmp_path / "odd.parquet")]
    with pytest.raises(UserError, match=told):
        Job(made_model, given, tmp_path / f"s{suffix}", columns=["id", *names])
    assert not (tmp_path / f"s{suffix}.parts").exists()


def test_a_column_that_the_model_needs_is_named(made_model, tmp_path):
    FRAME.drop("speed").write_parquet(tmp_path / "a.parquet")
    told = (
        r"a\.parquet: the rows have no column 'speed', which the model needs; they have word, id,"
    )
    with pytest.raises(UserError, match=told):
        Job(made_model, [str(tmp_path / "a.parquet")], tmp_path / "s.parquet")


def test_a_column_whose_type_differs_between_files_is_kept(made_model, tmp_path):
    """As text, in which no digit is lost."""
    count = len(FRAME)
    columns = {
        "a": {"key": pl.Series([7] * count), "size": pl.Series([2**53 + 1] * count)},
        "b": {"key": pl.Series(["x"] * count), "size": pl.Series([0.5] * count)},
    }
    for name, own in columns.items():
        FRAME.with_columns(**own).write_parquet(tmp_path / f"{name}.parquet")
    run(made_model, tmp_path / "*.parquet", tmp_path / "s.parquet", columns=["key", "size"])
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got["key"].to_list() == ["7"] * count + ["x"] * count
    assert got["size"].to_list() == [str(2**53 + 1)] * count + ["0.5"] * count


def test_columns_of_csv_that_the_model_reads_have_its_types(tmp_path):
    """Unless the output is CSV, too, where each value stays as it was written."""
    frame = FRAME.with_columns(tags=pl.lit("x"), vector=pl.col("size") + 0.5)
    frame_model(tmp_path / "model", frame, {"tags": "{}", "vector": "{kind: numeric}"})
    model = load(tmp_path / "model", largest=16)
    lines = ["word,id,size,speed,tags,vector,number", "a,01,1,-1.50,x,0.5,7", "b,2,2,fast,x,1,8"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    names = ["id", "speed", "word", "number", "click@all"]
    for suffix in (".parquet", ".jsonl", ".csv"):
        run(model, tmp_path / "a.csv", tmp_path / f"s{suffix}")
    got = pl.read_parquet(tmp_path / "s.parquet").select(names)
    assert got.dtypes == [pl.Int64, pl.Float64, pl.String, pl.String, pl.Float64]
    assert got.rows()[0][:4] == (1, -1.5, "a", "7")
    assert got.rows()[1] == (2, None, "b", "8", None)  # its speed is counted as bad
    first = json.loads((tmp_path / "s.jsonl").read_text().splitlines()[0])
    assert [first[name] for name in names[:4]] == [1, -1.5, "a", "7"]
    assert (tmp_path / "s.csv").read_text().splitlines()[2].startswith("b,2,2,fast,x,1,8,")


# ---------------------------------------------------------------- bad rows


def written(folder, rows):
    """Rows as lines of JSON; a text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "a.jsonl").write_text("\n".join(lines).replace("Infinity", "1e999"))
    return folder / "a.jsonl"


def test_a_bad_row_has_no_scores_and_keeps_its_other_columns(made_model, tmp_path):
    rows = [row | {"number": n} for n, row in enumerate(FRAME.to_dicts() * 2)]
    rows[1]["tags"], rows[2]["word"], rows[4]["number"] = {"a": 1}, ["a"], [4]
    rows[3] = "{broken"
    for n, changes in enumerate(({"size": 1e999}, {"speed": 1e999}, {"size": -1e999}), 6):
        rows[n] |= changes
    rows[9]["vector"] = [1.0]
    _, job = run(made_model, written(tmp_path, rows), tmp_path / "s.parquet", max_bad_rate=1.0)
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got["number"].to_list() == [0, 1, 2, None, None, *range(5, 12)]
    assert got["word"].to_list()[:6] == ["a", "b", None, None, "b", "a"]
    missing = got["stars@all"].is_null().to_numpy()
    assert np.flatnonzero(~missing).tolist() == [0, 5, 10, 11]
    good = made_model.score([rows[n] for n in (0, 5, 10, 11)]).to_numpy()
    np.testing.assert_allclose(got.select(made_model.outputs).to_numpy()[~missing], good, rtol=1e-6)
    assert job.account.counts["number that is not finite"] == 3
    said = " ".join([*job.account.summary()])
    assert "row 7, column 'size': inf" in said
    assert "list of other than 2 numbers" in said
    with pytest.raises(UserError, match=r"more than --max_bad_rate=0 allows: .*row 7"):
        run(made_model, tmp_path / "a.jsonl", tmp_path / "t.parquet", max_bad_rate=0)


def scored(made_model, folder, rows, *more):
    """The output of the command."""
    pl.DataFrame(rows).write_parquet(folder / "rows.parquet")
    given = [f"--model={made_model.folder}", f"--input={folder}/rows.parquet"]
    score.main([*given, f"--output={folder}/s.parquet", *more])
    return pl.read_parquet(folder / "s.parquet")


@pytest.mark.parametrize("bad", [3, 6])
def test_too_many_bad_rows_leave_no_output(made_model, tmp_path, bad, monkeypatch, capsys):
    monkeypatch.setattr(score_files, "UNIT", {"rows": 2, "size": 100})
    rows = [row | {"vector": [1.0]} if n < bad else row for n, row in enumerate(FRAME.to_dicts())]
    if bad > 3:
        told = f"^{bad} of 6 rows have no scores, more than --max_bad_rate=0.5 allows: {bad} of 6"
        with pytest.raises(UserError, match=f"{told} rows rejected: list of other than 2"):
            scored(made_model, tmp_path, rows)
        assert not (tmp_path / "s.parquet").exists()
        with pytest.raises(UserError, match=r"more than --max_bad_rate=0\.6 "):
            scored(made_model, tmp_path, rows, "--max_bad_rate=0.6")
    capsys.readouterr()
    found = scored(made_model, tmp_path, rows, f"--max_bad_rate={max(0.5, bad / 6)}")
    assert found[made_model.outputs[0]].null_count() == bad
    assert ("resuming" in capsys.readouterr().out) == (bad > 3)  # what was scored stays scored


def test_unknown_values_are_told_where_they_are_many(made_model, tmp_path, capsys):
    scored(made_model, tmp_path, FRAME.to_dicts())
    said = capsys.readouterr().out
    assert "not in training" not in said
    assert "warning" not in said
    assert "leaves out tags, tags_weights, vector (lists or bytes; --columns=NAMES keeps" in said
    rows = [row | {"word": "never"} for row in FRAME.to_dicts()]
    rows[0]["id"] = 77
    rows[1]["vector"] = None
    scored(made_model, tmp_path, rows, "--replace", "--columns=id")
    said = capsys.readouterr().out
    for name in ("vector", "id"):
        assert f"16.7 % of the values of {name} are missing, or not in training" in said
    assert said.count("warning: the model knows no value of field 'word'") == 1
    assert "leaves out" not in said


def test_bytes_that_are_no_text_spoil_their_row_alone(made_model, tmp_path):
    words = [word.encode() for word in FRAME["word"].to_list()]
    words[1] = b"\xff\xd8"
    FRAME.with_columns(word=pl.Series(words)).write_parquet(tmp_path / "b.parquet")
    _, job = run(made_model, tmp_path / "b.parquet", tmp_path / "s.parquet")
    got = pl.read_parquet(tmp_path / "s.parquet")
    assert got["click@all"].is_null().arg_true().to_list() == [1]
    assert [*job.account.counts] == ["bytes that are not UTF-8"]
    assert got["word"].to_list() == [FRAME["word"][0], None, *FRAME["word"][2:]]


def test_options_of_score(made_model, tmp_path, capsys):
    FRAME.write_parquet(tmp_path / "day.parquet")
    given = [f"--input={tmp_path}/day.parquet", f"--output={tmp_path}/s.csv"]
    own = f"--model={made_model.folder}"
    for words, told in {
        (own, "--max_bad_rate=2"): r"--max_bad_rate=2\.0: expected at least 0 and at most 1",
        (): "--model is missing",
        (f"--model={tmp_path}/nix",): "holds no model",
        (f"--model={tmp_path}",): "holds no model",
    }.items():
        with pytest.raises(UserError, match=told):
            score.main([*given, *words])
    score.main([*given, own, "--columns=_file,id"])
    assert "6 rows are scored, at " in capsys.readouterr().out
    got = pl.read_csv(tmp_path / "s.csv")
    assert got.columns == ["_file", "id", *made_model.outputs]
    assert set(got["_file"]) == {"day.parquet"}
