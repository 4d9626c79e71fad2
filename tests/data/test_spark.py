"""`prepare --engine=spark`: the set has the bytes that it has of one machine, whatever dies.

`make spark` makes an environment in which none of these is skipped.
"""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import given
import golden_sets
import polars as pl
import pytest
from world import log

from dtn_jax.data.prepare import prepare
from dtn_jax.data.raw import read
from dtn_jax.data.stages import fit, records, spark
from dtn_jax.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]
THERE = importlib.util.find_spec("pyspark") and shutil.which("java")


def slow(test):
    """Marks a test that needs Spark."""
    missing = pytest.mark.skipif(not THERE, reason="no PySpark (make spark), or no Java")
    pandas = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
    sockets = pytest.mark.filterwarnings("ignore:.*unclosed.*socket:ResourceWarning")
    return pytest.mark.slow(missing(pandas(sockets(test))))


MASTER = {"engine": "spark", "master": "local[2]"}


@pytest.fixture(scope="module")
def session():
    """One session for all tests; `prepare` takes the active one. What is sorted has three parts."""
    settings = "--driver-memory 1g --conf spark.ui.enabled=false pyspark-shell"
    settings = f"--conf spark.sql.adaptive.enabled=false {settings}"
    settings = f"--conf spark.sql.shuffle.partitions=3 {settings}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_SUBMIT_ARGS", settings)
        with spark.session("local[2]", "tests") as begun:
            yield begun


@pytest.fixture
def pieces(monkeypatch):
    """A small log is cut into as many pieces as a large one is, and has as many numbers."""
    monkeypatch.setattr(read, "UNIT_ROWS", 200)
    monkeypatch.setattr(read, "UNIT_BYTES", 40_000)
    monkeypatch.setattr(records, "LEAST_ROWS", 300)
    monkeypatch.setattr(fit, "MOST_NUMBERS", 100)


def visitors(root, folder):
    """Histories by a column that is missing in whole units, and elsewhere."""
    text = log.SCHEMA.replace("where: click == 1,", "where: click == 1, by: visitor,")
    visitor = pl.when((pl.int_range(pl.len()) > 600) & (pl.col("item") != 1)).then("user")
    return log.prepared(folder, log.rows().with_columns(visitor=visitor), text)


def world(root, folder):
    return log.prepared(folder, log.rows())


# Split by time, by group, by the order of users; Parquet, CSV, JSON lines; every kind of field.
SETS = {"log": world, "visitors": visitors}
SETS |= {name: golden_sets.SETS[name] for name in ("extended", "csv", "jsonl")}


def on_spark(folder, **options):
    """The set of a log in a folder, prepared there again."""
    options = {"max_reject_rate": 0.1, **MASTER, **options}
    return prepare(folder / "shop.yaml", str(folder / "raw"), folder / "spark", **options)


@pytest.mark.parametrize("name", SETS)
@slow
def test_the_bytes_are_those_of_one_machine(name, session, prepared_dir, tmp_path, pieces):
    one = SETS[name](prepared_dir, tmp_path)
    older = log.shared(str(prepared_dir))[1].folder if name == "extended" else ""
    other = on_spark(tmp_path, extend=older)
    assert log.everything(other.folder) == log.everything(one.folder)
    assert [path.name for path in other.folder.parent.iterdir()] == ["1.0.0"]


@pytest.mark.nightly
@slow
def test_a_million_rows_of_the_pages_log(session, tmp_path):
    """Each of four files is a unit, and all have the same users."""
    page = (ROOT / "docs/logs.md").read_text()
    log.schema_file(tmp_path, page.partition('title="wide.yaml"\n')[2].partition("```")[0])
    (tmp_path / "raw").mkdir()
    for seed in range(4):
        frame = given.wide_log(250_000, seed)
        frame.write_parquet(tmp_path / f"raw/{seed}.parquet")
    one = prepare(tmp_path / "shop.yaml", str(tmp_path / "raw"), tmp_path / "data")
    assert log.everything(on_spark(tmp_path).folder) == log.everything(one.folder)


@slow
def test_a_killed_worker_loses_nothing(session, prepared_dir, tmp_path, pieces, monkeypatch):
    """One dies in each stage once a unit is done, and in the join of histories."""
    one = SETS["jsonl"](prepared_dir, tmp_path)
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def die_once(name):
        path = deaths / name
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    units_of, list_events = spark._units, spark._list_events

    def dying_units(work, folder, *given):
        for done in units_of(work, folder, *given):
            die_once(f"{folder.name} done")
            yield done

    def dying_lists(*given):
        for listed in list_events(*given):
            die_once("histories begun")
            yield listed
        die_once("histories done")

    monkeypatch.setattr(spark, "_units", dying_units)
    monkeypatch.setattr(spark, "_list_events", dying_lists)
    assert log.everything(on_spark(tmp_path).folder) == log.everything(one.folder)
    assert sorted(path.name for path in deaths.iterdir()) == [
        "count done",
        "histories begun",
        "histories done",
        "rows done",
        "text done",
        "write done",
    ]


@slow
def test_a_killed_command_resumes(session, prepared_dir, tmp_path, monkeypatch):
    one = world(prepared_dir, tmp_path)
    command = [sys.executable, "-m", "experiments.prepare", "--schema=shop.yaml", "--input=raw"]
    command += ["--data_dir=spark", "--engine=spark", "--master=local[2]"]
    settings = dict(os.environ, PYTHONPATH=str(ROOT))
    killed = subprocess.Popen(command, cwd=tmp_path, env=settings, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("spark/logs/shop/unfinished-*/facts/count/*.json")):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    (home,) = tmp_path.glob("spark/logs/shop/unfinished-*")
    rows = {path: path.stat().st_mtime_ns for path in home.glob("rows/*")}
    monkeypatch.setattr(spark.shutil, "rmtree", lambda *_, **__: None)
    assert log.everything(on_spark(tmp_path).folder) == log.everything(one.folder)
    assert rows == {path: path.stat().st_mtime_ns for path in home.glob("rows/*")}


@slow
def test_what_an_executor_finds_is_told(session, tmp_path, monkeypatch):
    log.schema_file(tmp_path)
    log.write(tmp_path / "raw", log.rows())
    path = tmp_path / "raw/part-001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"^{path}.* (damaged|cannot be read)"):
        on_spark(tmp_path)

    def dying(*given):
        os.kill(os.getpid(), signal.SIGKILL)
        yield

    monkeypatch.setattr(spark, "_units", dying)
    with pytest.raises(UserError, match=r"^Spark has given up: .*failed 4 times.* resumes$"):
        on_spark(tmp_path)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"engine": "sprak"}, "unknown --engine 'sprak'. Did you mean 'spark'"),
        ({"master": "local[2]"}, "--master=local\\[2\\] goes with --engine=spark"),
        ({"engine": "spark"}, "--engine=spark needs .* and --master=URL"),
        (MASTER, "needs PySpark .pip install 'dtn_jax\\[spark\\]'"),
    ],
)
def test_what_is_missing_is_told(given, told, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    log.schema_file(tmp_path)
    log.write(tmp_path / "raw", log.rows(50))
    with pytest.raises(UserError, match=told):
        prepare(tmp_path / "shop.yaml", str(tmp_path / "raw"), tmp_path, **given)


@slow
def test_without_java_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(UserError, match="Java 17 or newer"), spark.session("local", "shop"):
        pass
