"""What damages the work of preparing a log: full disks, kills, files cut by a power failure."""

import glob
import importlib
import multiprocessing
import os
import pathlib
import re
import shutil
import threading
import time

import pytest
from damaged_logs import SCHEMA, everything, frame, schema_file, small_pieces, write

from dtn_jax.datasets.logs import work_folder as work
from dtn_jax.datasets.logs.write import finish_set
from dtn_jax.errors import UserError

pytest_plugins = ["log_fixtures"]

engine = importlib.import_module("dtn_jax.datasets.logs.prepare")
ORDERED = SCHEMA + "split: {by: user_order, validation: 2, test: 2}\n"


class Killed(BaseException):
    """Ends a call as a signal does."""


@pytest.fixture(autouse=True)
def pieces(monkeypatch):
    small_pieces(monkeypatch)


def prepare(finished, raw, text=SCHEMA, **options):
    work.load.cache_clear()  # another process knows nothing of what this one has read
    schema = schema_file(raw.parent, text)
    options = {"processes": 1, "replace": True} | options
    return engine.prepare(schema, str(raw), finished.data_dir, **options)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nothing(path):
    path.write_bytes(b"")


def fewer(path):
    path.write_text(path.read_text().replace("group: user\n", ""))  # still a schema file


STOPS = [  # where the first call is killed, the file that is damaged then, and how
    ("merge_statistics", "plan.json", half, SCHEMA),
    ("merge_statistics", "schema_file.yaml", half, SCHEMA),
    ("merge_statistics", "schema_file.yaml", fewer, SCHEMA),
    ("merge_statistics", "cuts.json", nothing, SCHEMA),
    ("merge_statistics", "fit/00001/facts.json", half, SCHEMA),
    ("merge_statistics", "fit/00002/user.0.arrow", half, SCHEMA),
    ("merge_statistics", "fit/00002/user.0.arrow", pathlib.Path.unlink, SCHEMA),
    ("merge_statistics", "fit/00003/price.numbers.npz", half, SCHEMA),
    ("merge_statistics", "fit/00003/price.numbers.npz", nothing, SCHEMA),
    ("finish", "merged/merged.json", half, SCHEMA),
    ("finish", "merged/vocabulary/user.arrow", half, SCHEMA),
    ("finish", "shards/00000.json", nothing, SCHEMA),
    ("finish", "set/logs-train.array_record-00000-of-00002", half, SCHEMA),
    ("finish", "set/logs-train.array_record-00001-of-00002", pathlib.Path.unlink, SCHEMA),
    ("_decide", "order/00001/00000.npy", half, ORDERED),
    ("merge_statistics", "ordered/00001.npy", nothing, ORDERED),
    ("merge_statistics", "ordered/00001.npy", half, ORDERED),
]


@pytest.mark.parametrize(
    ("stop", "name", "way", "text"), STOPS, ids=[f"{s[1]} {s[2].__name__}" for s in STOPS]
)
def test_a_damaged_file_of_the_work_is_told_and_made_anew(
    stop, name, way, text, log, undisturbed, monkeypatch
):
    finished, raw = log

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finish_set if stop == "finish" else engine, stop, killed)
        with pytest.raises(Killed):
            prepare(finished, raw, text)
    finished.check()
    (folder,) = finished.target.parent.glob("unfinished-*")
    way(folder / name)
    if name.startswith("ordered"):  # what was read of it is to be read again
        shutil.rmtree(folder / "fit")
    with pytest.raises(UserError, match=rf"{folder / name} is missing or damaged") as told:
        prepare(finished, raw, text)
    finished.check()
    place = pathlib.Path(re.search("[Dd]elete ([^ :]+)", str(told.value))[1])
    assert place.is_relative_to(folder)
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    made = prepare(finished, raw, text)
    assert everything(made.folder) == undisturbed(text)
    assert not list(finished.target.parent.glob("unfinished-*"))


FULL = [  # what fails where the disk is full
    "dtn_jax.datasets.logs.mapped.np.save",
    "dtn_jax.datasets.logs.fit.fit_unit.np.savez",
    "dtn_jax.datasets.logs.fit.statistics.KeyCounts.save",
    "dtn_jax.datasets.logs.mapped.os.posix_fallocate",
    "dtn_jax.datasets.logs.write.encode_shard.write_whole",
    "dtn_jax.datasets.logs.write.finish_set.shutil.copytree",
]


def full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_told_and_the_same_command_resumes(name, log, undisturbed, monkeypatch):
    finished, raw = log
    with monkeypatch.context() as patch:
        patch.setattr(name, full)
        with pytest.raises(UserError, match=r"No space left on device.*What is done stays done"):
            prepare(finished, raw)
    finished.check()
    made = prepare(finished, raw)
    assert everything(made.folder) == undisturbed()


def test_a_disk_that_is_full_while_records_are_written_is_told(log, monkeypatch):
    finished, raw = log

    class Writer:
        def __init__(self, *_):
            pass

        def write(self, record):
            raise RuntimeError("write() failed: No space left on device")  # as ArrayRecord's does

    with monkeypatch.context() as patch:
        patch.setattr("dtn_jax.datasets.logs.write.shard_files.ArrayRecordWriter", Writer)
        with pytest.raises(UserError, match=r"No space left on device: .*array_record"):
            prepare(finished, raw)
    finished.check()


@pytest.mark.skipif(not os.path.exists("/proc/mounts"), reason="Linux has small file systems")
def test_a_small_file_system(log, tmp_path):
    _finished, raw = log
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=300k none {small} 2> /dev/null"):
        pytest.skip("no right to mount a file system")
    try:
        with pytest.raises(UserError, match="No space left on device"):
            engine.prepare(schema_file(tmp_path), str(raw), small, processes=1)
        assert not (small / "logs/shop/1.0.0").exists()
    finally:
        os.system(f"umount {small}")


def later(raw, way):
    """check_rejects, after which the raw file is changed: between the passes."""
    check = engine.check_rejects

    def checked(*given):
        check(*given)
        way(raw)

    return checked


CHANGES = {
    "vanished": (pathlib.Path.unlink, "cannot be read|cannot be opened|No such file"),
    "cut": (half, "is cut, or is no Parquet file"),
    "more rows": (lambda raw: write(raw, frame(rows=2_400)), "has changed while|were counted"),
    "fewer rows": (lambda raw: write(raw, frame(rows=1_900)), "has changed while|were counted"),
    "another value": (lambda raw: write(raw, frame({"price": {0: 3.5}})), "has changed while"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_raw_file_that_changes_between_the_passes_is_told(name, log, monkeypatch):
    finished, raw = log
    way, message = CHANGES[name]
    monkeypatch.setattr(engine, "check_rejects", later(raw, way))
    with pytest.raises(UserError, match=f"{raw}.*({message})"):
        prepare(finished, raw)
    finished.check()


def test_two_commands_at_once(log, monkeypatch):
    finished, raw = log
    monkeypatch.setattr(engine, "check_rejects", later(raw, lambda raw: prepare(finished, raw)))
    with pytest.raises(UserError, match=r"another process is preparing shop in .*unfinished-"):
        prepare(finished, raw)
    finished.check()


def test_a_command_that_waited_for_another_one_leaves_its_set_as_it_is(log, monkeypatch):
    finished, raw = log
    begun = engine.begun
    first = []

    def late(*given):
        monkeypatch.setattr(engine, "begun", begun)
        first.append(prepare(finished, raw))
        work.load.cache_clear()
        return begun(*given)

    monkeypatch.setattr(engine, "begun", late)
    made = prepare(finished, raw)
    assert made.folder == first[0].folder
    assert [path.name for path in (made.folder.parent / "replaced").iterdir()] == ["1.0.0"]
    assert not list(made.folder.parent.glob("unfinished-*"))


@pytest.mark.slow
def test_a_worker_that_is_killed_harms_nothing(log, undisturbed, monkeypatch):
    finished, raw = log
    monkeypatch.setattr("dtn_jax.datasets.logs.work.team.SMALL_ROWS", 0)

    def kill():
        # Until it works. Unlike Path.rglob, glob overlooks folders that are gone when read.
        while not glob.glob(f"{finished.folder}/**/unfinished-*/fit/*", recursive=True):
            time.sleep(0.01)
        multiprocessing.active_children()[0].kill()

    (thread := threading.Thread(target=kill, daemon=True)).start()
    with pytest.raises(UserError, match="a process was killed"):
        prepare(finished, raw, processes=2)
    thread.join()
    finished.check()
    made = prepare(finished, raw)
    assert everything(made.folder) == undisturbed()
