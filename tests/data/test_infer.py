"""From raw files to a schema file that loads and prepares as it is, whatever the columns."""

import datetime
import pathlib
import re
import shlex
import string

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.cli import prepare, train
from dtn_jax.data import prepare as logs
from dtn_jax.data.infer.infer import infer
from dtn_jax.data.prepared import read
from dtn_jax.data.schemas import schema_file
from dtn_jax.errors import UserError

FRAME = log.rows(600).drop("viewed", "viewed_action", "w")
WRITERS = {
    "parquet": lambda frame, path: frame.write_parquet(path),
    "arrow": lambda frame, path: frame.write_ipc(path, compat_level=pl.CompatLevel.oldest()),
    "csv": lambda frame, path: flat(frame).write_csv(path),
    "jsonl": lambda frame, path: flat(frame).write_ndjson(path),
}


def left_out_taken_back(text):
    """The file with all columns that were left out, but for those that cannot be read."""
    return re.sub(r"(?m)^  # (?=\S+:( \{.*\})?$|.*: \{.*\})", "  ", text)


SEEDS = [(s, n) for n in range(6) for s in WRITERS]


@pytest.mark.parametrize(
    ("suffix", "seed"),
    [*SEEDS[:4], *(pytest.param(*case, marks=pytest.mark.nightly) for case in SEEDS[4:])],
)
def test_any_columns_load_and_prepare_without_an_edit(tmp_path, suffix, seed):
    frame = random_frame(1000 + seed)
    half = ROWS // 2
    for place, part in enumerate((frame[:half], frame[half:])):
        WRITERS[suffix](part, tmp_path / f"{place}.{suffix}")
    source = [str(tmp_path / f"*.{suffix}")]
    infer(source, tmp_path / "s.yaml", labels=["buy"])
    made = schema_file.load(tmp_path / "s.yaml")
    assert "buy" in [task.name for task in made.tasks]
    data = logs.prepare(tmp_path / "s.yaml", source, tmp_path / "data", processes=1)
    assert sum(data.rows.values()) == ROWS
    schema_file.loads(left_out_taken_back((tmp_path / "s.yaml").read_text()))


def test_what_was_left_out_can_be_taken_back(tmp_path):
    frame = FRAME.with_columns(request_id=pl.int_range(600) * 7919, env=pl.lit("prod"))
    frame.write_parquet(tmp_path / "a.parquet")
    infer([str(tmp_path)], tmp_path / "my shop.yaml", labels=["click", "seconds"])
    text = (tmp_path / "my shop.yaml").read_text()
    made, more = schema_file.loads(text), schema_file.loads(left_out_taken_back(text))
    assert (made.name, made.time, made.group, made.split.by) == ("my_shop", "t", "user", "time")
    assert [task.kind for task in made.tasks] == ["binary", "regression"]
    back = {field.name for field in more.fields} - {field.name for field in made.fields}
    assert back == {"request_id", "env", "order", "seen_weights"}


def test_another_file_is_not_overwritten_unasked(tmp_path):
    out, given = tmp_path / "s.yaml", [log.write(tmp_path / "raw", FRAME)]
    infer(given, out, labels=["click"])
    text = out.read_text()
    infer(given, out, labels=["click"])  # the same text again
    out.write_text(text + "# mine\n")
    with pytest.raises(UserError, match=r"s\.yaml is there already.*--replace"):
        infer(given, out, labels=["click"])
    assert out.read_text().endswith("# mine\n")
    infer(given, out, labels=["click"], replace=True)
    assert out.read_text() == text


def test_missing_values_of_csv_are_found(tmp_path):
    text = "t;price;buy;city\n" + "".join(
        f"2026-03-{1 + n % 9:02d} 0{n % 7}:00:00;{'NA' if n % 5 == 0 else n};{n % 2};\\N\n"
        for n in range(400)
    )
    (tmp_path / "a.csv").write_text(text)
    source = [str(tmp_path / "a.csv")]
    infer(source, tmp_path / "s.yaml")
    made = schema_file.load(tmp_path / "s.yaml")
    assert made.input.separator == ";"
    assert made.input.missing == ("NA", "\\N")
    assert {f.name: f.kind for f in made.fields}["price"] == "numeric"
    assert made.time_unit == "date"
    data = logs.prepare(tmp_path / "s.yaml", source, tmp_path / "data", processes=1)
    assert sum(data.rows.values()) == 400


def test_a_format_that_no_suffix_says_is_given_and_kept(tmp_path):
    frame = flat(FRAME)
    frame.write_csv(tmp_path / "part-0")
    source, out = f"--input={tmp_path / 'part-0'}", tmp_path / "s.yaml"
    start = ["--infer", source, f"--out={out}", "--labels=click"]
    with pytest.raises(UserError, match="does not say the format"):
        prepare.main(start)
    prepare.main([*start, "--format=csv"])
    assert schema_file.load(out).input.format == "csv"
    prepare.main([f"--schema={out}", source, f"--data_dir={tmp_path / 'data'}"])
    assert sum(read(tmp_path / "data/logs/s/1.0.0").rows.values()) == len(frame)


ROOT = pathlib.Path(__file__).parents[2]
TASKS = ["click", "order", "watch_seconds"]


def test_from_raw_files_to_a_prepared_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    draw, folder = np.random.default_rng(0), tmp_path
    frame = log.rows(2000).drop("seconds", "query", "speed", "viewed", "viewed_action", "w")
    names = {"user": "user_id", "item": "item_id", "seen": "tags", "seen_weights": "tags_weight"}
    frame = frame.rename(names).with_columns(
        pl.concat_str(pl.lit("r-"), pl.int_range(2000)).alias("request id"),
        watch_seconds=pl.col("click") * draw.exponential(30, 2000),
        paid_with=pl.when(pl.col("order") == 1).then(pl.lit("card")),
    )
    log.write(folder / "logs", frame, files=4)
    schema, data = folder / "shop.yaml", folder / "data"
    prepare.main(
        ["--infer", f"--input={folder}/logs", f"--out={schema}", f"--data_dir={data}"],
    )
    shown = capsys.readouterr().out
    assert re.search(r"paid_with: known only after the fact\? It is missing in 0 %", shown)
    assert "'request id'" in shown or "request id: nearly unique" in shown
    to_prepare, to_train = (shlex.split(line) for line in shown.splitlines()[-2:])
    assert (to_prepare[:2], to_train[:2]) == (["dtn-jax", "prepare"], ["dtn-jax", "train"])
    prepare.main([*to_prepare[2:], "--processes=1"])
    prepared = read(data / "logs" / "shop" / "1.0.0")
    assert [task.name for task in prepared.schema.tasks] == TASKS
    assert prepared.schema.tasks[1].upstream == ("click",)
    assert prepared.schema.tasks[2].kind == "regression"
    kinds = {f.name: f.kind for f in prepared.schema.fields}
    assert (kinds["item_id"], kinds["tags"], kinds["embedding"]) == ("categorical", "bag", "vector")
    assert prepared.schema.group == "user_id"
    small = "model.architecture=shared_bottom,model.experts=mlp,model.mlp.hidden=4"
    small += ",model.expert_dim=4,model.tower_hidden=4"
    small += ",train.max_steps=3,data.batch_size=64,parallel.devices=1"
    small = [f"--config.{option}" for option in small.split(",")]
    train.main([*to_train[2:], f"--workdir={folder}/run", *small])
    assert (folder / "run").is_dir()
    assert "order" in capsys.readouterr().out


ROWS = 600
START = datetime.datetime(2026, 3, 1)
NAMES = [
    *("no", "on", "null", "true", "~", "y", "all", "mean", "name", "and", "hour", "weekday"),
    *("a b", "a-b", "a.b", "a:b", "a: b", "a #b", "'a'", '"a"', "a`b", "{a}", "[a]", "a,b", "&a"),
    *("*a", "!a", "%a", "@a", "a/b", "a=b", "a+b", "?", "-", "- a", " a", "a ", "日本語", "größe"),
    *("🙂", "1", "007", "1e5", "12:30", "2026-03-05", "a\tb", "a\\b", "a\nb", "é", "<<", "|", ">"),
    *("user_id", "item_id", "price", "t", "ts", "is_new", "click", "order", "rating", "cart"),
    *("request_id", "age", "count", "x" * 100, "userId", "created_at", "day", "split", "weight"),
    *("watch_seconds", "label", "session", "group", "column", "value", "kind", "fields", "\u2028"),
]


def texts(draw, rows, distinct):
    letters = list(string.ascii_letters + " '\"#:{}[],&*!|>%@`\\/-_?~é日🙂\t\u2028")
    made = ["".join(draw.choice(letters, draw.integers(0, 12))) for _ in range(distinct)]
    return [made[n] for n in draw.integers(0, distinct, rows)]


def one(draw, rows):
    """A column of any type."""
    makers = {
        "int": lambda: draw.integers(-5, draw.choice([2, 50, 10**6]), rows),
        "unsigned": lambda: pl.Series(draw.integers(0, 2**64 - 1, rows, np.uint64)),
        "binary": lambda: draw.integers(0, 2, rows),
        "float": lambda: draw.normal(size=rows) * 10.0 ** draw.integers(-20, 20),
        "odd": lambda: draw.choice([0.5, np.nan, np.inf, -np.inf, 1e308], rows),
        "nan": lambda: np.where(draw.random(rows) < 0.3, np.nan, draw.normal(size=rows)),
        "text": lambda: texts(draw, rows, int(draw.choice([1, 2, 30, rows]))),
        "truth text": lambda: draw.choice(["true", "False", "TRUE"], rows).tolist(),
        "iso text": lambda: [str(START + datetime.timedelta(hours=n)) for n in range(rows)],
        "empty": lambda: [""] * rows,
        "null": lambda: pl.Series([None] * rows),
        "constant": lambda: [7] * rows,
        "unique": lambda: [f"r{n}" for n in range(rows)],
        "epoch": lambda: 1_772_000_000 + np.sort(draw.integers(0, 10**6, rows)),
        "millis": lambda: 1000 * (1_772_000_000 + draw.integers(0, 10**6, rows)),
        "yyyymmdd": lambda: draw.integers(20260301, 20260310, rows),
        "datetime": lambda: [START + datetime.timedelta(minutes=n) for n in range(rows)],
        "date": lambda: [START.date() + datetime.timedelta(days=n % 9) for n in range(rows)],
        "time": lambda: [datetime.time(n % 24, 5) for n in range(rows)],
        "duration": lambda: [datetime.timedelta(seconds=n) for n in range(rows)],
        "bytes": lambda: [bytes([n % 256]) for n in range(rows)],
        "decimal": lambda: pl.Series(draw.integers(0, 999, rows)).cast(pl.Decimal(10, 2)),
        "struct": lambda: [{"a": n} for n in range(rows)],
        "ids": lambda: [draw.integers(0, 40, n) for n in draw.integers(0, 90, rows)],
        "vector": lambda: list(draw.normal(size=(rows, 4))),
        "odd vector": lambda: [[1.5, None] if n % 9 else [np.inf, 0.1] for n in range(rows)],
        "floats": lambda: [draw.normal(size=n) for n in draw.integers(0, 4, rows)],
        "nested": lambda: [[[1, 2], [3]]] * rows,
        "list of dates": lambda: [[START.date()]] * rows,
    }
    kind = draw.choice(list(makers))
    made = pl.Series(makers[kind](), strict=False)
    if draw.random() < 0.3 and made.dtype != pl.Null:
        gone = pl.Series(draw.random(rows) < draw.choice([0.002, 0.5]))
        made = pl.select(pl.when(~gone).then(made)).to_series()
    return made


def random_frame(seed, rows=ROWS):
    """A log with a label, and columns of any names and types."""
    draw = np.random.default_rng(seed)
    names = draw.permutation(NAMES)[: draw.integers(2, 14)].tolist()
    columns = {name: one(draw, rows).alias(name) for name in names}
    columns["buy"] = pl.Series("buy", draw.integers(0, 2, rows))
    columns["code"] = pl.Series("code", draw.integers(0, 9, rows))
    return pl.DataFrame(columns)


def flat(made):
    """The columns that a CSV file holds."""
    kept = [c for c in made if not c.dtype.is_nested() and c.dtype not in (pl.Binary, pl.Duration)]
    kept = [c for c in kept if "\n" not in c.name]
    return pl.DataFrame(kept)
