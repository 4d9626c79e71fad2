"""From raw files to a schema file that loads and prepares as it is, whatever the columns."""

import re

import polars as pl
import pytest
import random_logs
import shop_log

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.infer.infer import infer, name_of
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.errors import UserError
from experiments import prepare

FRAME = shop_log.rows(600)
WRITERS = {
    "parquet": lambda frame, path: frame.write_parquet(path),
    "arrow": lambda frame, path: frame.write_ipc(path, compat_level=pl.CompatLevel.oldest()),
    "csv": lambda frame, path: random_logs.flat(frame).write_csv(path),
    "jsonl": lambda frame, path: random_logs.flat(frame).write_ndjson(path),
}


@pytest.fixture
def shop(tmp_path):
    """The glob of a log."""
    return shop_log.write(tmp_path / "raw", FRAME)


def left_out_taken_back(text):
    """The file with all columns that were left out, but for those that cannot be read."""
    return re.sub(r"(?m)^  # (?=\S+:( \{.*\})?$|.*: \{.*\})", "  ", text)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("seed", range(6))
def test_any_columns_load_and_prepare_without_an_edit(tmp_path, suffix, seed):
    frame = random_logs.frame(1000 + seed)
    half = random_logs.ROWS // 2
    for place, part in enumerate((frame[:half], frame[half:])):
        WRITERS[suffix](part, tmp_path / f"{place}.{suffix}")
    source = [str(tmp_path / f"*.{suffix}")]
    infer(source, tmp_path / "s.yaml", labels=["buy"])
    made = schema_file.load(tmp_path / "s.yaml")
    assert "buy" in [task.name for task in made.tasks]
    data = logs.prepare(tmp_path / "s.yaml", source, tmp_path / "data", processes=1)
    assert sum(data.rows.values()) == random_logs.ROWS
    schema_file.loads(left_out_taken_back((tmp_path / "s.yaml").read_text()))


def test_a_shop_is_seen_as_it_is(tmp_path, shop):
    infer([shop], tmp_path / "my shop.yaml", labels=["click", "order", "seconds"])
    made = schema_file.load(tmp_path / "my shop.yaml")
    assert made.name == "my_shop"
    kinds = {field.name: field.kind for field in made.fields}
    assert kinds == dict.fromkeys(("hour", "user", "item", "query"), "categorical") | {
        "seen": "bag",
        "price": "numeric",
        "speed": "numeric",
        "embedding": "vector",
    }
    by_name = {field.name: field for field in made.fields}
    assert by_name["seen"].weights == "seen_weights"
    assert by_name["embedding"].length == 3
    assert [task.upstream for task in made.tasks] == [(), ("click",), ()]
    assert (made.time, made.group, made.split.by) == ("t", "user", "time")


def test_what_was_left_out_can_be_taken_back(tmp_path):
    frame = FRAME.with_columns(request_id=pl.int_range(600) * 7919, env=pl.lit("prod"))
    frame.write_parquet(tmp_path / "a.parquet")
    infer([str(tmp_path)], tmp_path / "s.yaml", labels=["click"])
    text = (tmp_path / "s.yaml").read_text()
    names = {field.name for field in schema_file.loads(text).fields}
    more = {field.name for field in schema_file.loads(left_out_taken_back(text)).fields}
    assert more - names >= {"request_id", "env"}


def test_another_file_is_not_overwritten_unasked(tmp_path, shop):
    out = tmp_path / "s.yaml"
    infer([shop], out, labels=["click"])
    text = out.read_text()
    infer([shop], out, labels=["click"])  # the same text again
    out.write_text(text + "# mine\n")
    with pytest.raises(UserError, match=r"s\.yaml is there already.*--replace"):
        infer([shop], out, labels=["click"])
    assert out.read_text().endswith("# mine\n")
    infer([shop], out, labels=["click"], replace=True)
    assert out.read_text() == text


def test_without_labels_nothing_is_written(tmp_path):
    pl.DataFrame({"flag": [0, 1] * 50, "n": range(100)}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"--labels=(.|\n)*0 and 1: flag"):
        infer([str(tmp_path)], tmp_path / "s.yaml")
    assert not (tmp_path / "s.yaml").exists()


def test_without_a_field_nothing_is_written(tmp_path):
    pl.DataFrame({"buy": [0, 1] * 50, "env": ["prod"] * 100}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column can be a field:\n  env: constant: always prod"):
        infer([str(tmp_path)], tmp_path / "s.yaml")


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


@pytest.mark.parametrize(
    ("out", "name"),
    [("shop.yaml", "shop"), ("a b.yml", "a_b"), ("_x.yaml", "x"), ("日本.yaml", "logs")],
)
def test_the_name_of_the_set_is_that_of_the_file(tmp_path, out, name):
    assert name_of(tmp_path / out) == name


def test_the_command_says_what_it_guessed_and_how_to_go_on(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = shop_log.write(tmp_path / "my logs", FRAME)
    prepare.main(["--infer", f"--input={source}", "--labels=click,order", "--out=s.yaml"])
    shown = capsys.readouterr().out
    assert "Looked at all 600 rows, from all 3 files." in shown
    assert "time   t (guessed): 2026-03-01" in shown
    assert "task   order: binary, " in shown
    assert "upstream click" in shown
    assert shown.endswith(
        f"python -m experiments.prepare --schema=s.yaml --input='{source}' --data_dir=data\n"
    )
    assert (
        "guessed"
        not in (tmp_path / "s.yaml").read_text().partition("tasks:")[2].partition("fields:")[0]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=s.yaml"], "--infer needs --input=FILES"),
        (["--input=a"], "--infer needs --out=FILE"),
    ],
)
def test_what_the_command_needs(arguments, message):
    with pytest.raises(UserError, match=message):
        prepare.main(["--infer", *arguments])


def test_help_lists_the_keys_of_a_schema_file(capsys):
    prepare.main(["--help=schema"])
    assert capsys.readouterr().out == schema_file.help_text() + "\n"
