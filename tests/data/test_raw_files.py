"""Which files an input names."""

import fsspec
import pytest
import raw_logs
from polars.testing import assert_frame_equal

from dtn_jax.datasets.logs.raw import files, read, units
from dtn_jax.datasets.preparation.checked_files import hash_ends
from dtn_jax.errors import UserError


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names(found, folder):
    return [file.address.removeprefix(f"{folder}/") for file in found]


def test_a_folder_gives_all_files_below_with_a_known_suffix(tmp_path):
    make(tmp_path, "b.parquet", "a/c.pq", "_SUCCESS", "._b.parquet", "_tmp/x.parquet", "README.md")
    found = files.find([str(tmp_path)])
    assert names(found, tmp_path) == ["a/c.pq", "b.parquet"]
    assert [file.size for file in found] == [6, 9]
    assert {file.format for file in found} == {"parquet"}


def test_each_file_comes_once_sorted(tmp_path, monkeypatch):
    make(tmp_path, "logs/b.csv", "logs/a.csv")
    monkeypatch.chdir(tmp_path)
    found = files.find(["logs/b.csv", "./logs/*.csv", str(tmp_path / "logs"), f"file://{tmp_path}"])
    expected = [str(tmp_path / name) for name in ("logs/a.csv", "logs/b.csv")]
    assert [file.address for file in found] == expected  # whatever folder it is called from


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.csv", ["a.csv"]),
        ("**/*.csv", ["a.csv", "day=1/b.csv", "day=2/hour=0/c.csv"]),
        ("day=*", ["day=1/b.csv", "day=2/hour=0/c.csv"]),
        ("day=[1-3]/*.csv", ["day=1/b.csv"]),
    ],
)
def test_globs(tmp_path, pattern, expected):
    make(tmp_path, "a.csv", "day=1/b.csv", "day=2/hour=0/c.csv", "day=2/_x/d.csv")
    assert names(files.find([f"{tmp_path}/{pattern}"]), tmp_path) == expected


def test_partition_keys_are_constants(tmp_path):
    make(
        tmp_path, "k=0/day=2026-01-01/city=a%20b/x.csv", "k=0/day=__HIVE_DEFAULT_PARTITION__/x.csv"
    )
    first, second = files.find([f"{tmp_path}/k=0"])
    assert first.constants == (("day", "2026-01-01"), ("city", "a b"))
    assert second.constants == (("day", None),)
    assert files.find([f"{tmp_path}/k=0/*/x.csv"])[0].constants == (("day", None),)
    assert files.find([first.address])[0].constants == ()


def test_constants_are_columns(tmp_path):
    (tmp_path / "day=7").mkdir()
    path = raw_logs.write(tmp_path / "day=7" / "a.parquet")
    (file,) = files.find([str(tmp_path)])
    assert list(read.schema(file, raw_logs.PLAIN))[-1] == "day"
    (unit,) = units.plan([file], raw_logs.PLAIN)
    (chunk,) = read.chunks(file, unit, ["day", "user"], raw_logs.PLAIN)
    assert chunk.frame["day"].to_list() == ["7"] * raw_logs.ROWS
    assert chunk.frame["user"].equals(raw_logs.whole(path)[0]["user"])
    (chunk,) = read.chunks(file, unit, ["day"], raw_logs.PLAIN)
    assert chunk.frame.shape == (raw_logs.ROWS, 1)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.TSV", "csv"),
        ("a.csv.gz", "csv"),
        ("a.snappy.parquet", "parquet"),
        ("a.json.gz", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.feather", "arrow"),
        ("a.ipc", "arrow"),
        ("a.parquet.gz", ""),
        ("a", ""),
    ],
)
def test_formats_of_suffixes(name, format):
    assert files.format_of(name) == format


def test_a_format_may_be_given(tmp_path):
    make(tmp_path, "a.log", "b.json", "c.csv")
    assert files.find([f"{tmp_path}/a.log"], "csv")[0].format == "csv"
    assert names(files.find([str(tmp_path)], "csv"), tmp_path) == ["c.csv"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere/*.csv", ["no raw files", "nowhere/*.csv", ".parquet"]),
        ("x.md", ["x.md", "does not say the format", ".jsonl"]),
        ("mixed", ["several formats", "csv (", "parquet ("]),
        ("empty", ["no raw files", "empty"]),
    ],
)
def test_what_cannot_be_found_is_told(tmp_path, monkeypatch, given, words):
    make(tmp_path, "x.md", "mixed/a.csv", "mixed/b.parquet", "empty/_a.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as told:
        files.find([given])
    assert all(word in str(told.value) for word in words), told.value


def test_a_link_to_a_folder_above_ends(tmp_path):
    make(tmp_path, "a/x.csv", "far/y.csv")
    (tmp_path / "a" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "far").symlink_to(tmp_path / "far")
    assert names(files.find([f"{tmp_path}/a"]), tmp_path) == ["a/far/y.csv", "a/x.csv"]


def test_the_ends_of_a_file_are_hashed_as_elsewhere(tmp_path):
    for size in (0, 10, 200_000):
        path = tmp_path / f"{size}.csv"
        path.write_bytes(bytes(n % 251 for n in range(size)))
        assert files.ends(str(path)) == hash_ends(path)


@pytest.fixture
def memory():
    """A file system in memory, emptied afterwards."""
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.rm("/logs", recursive=True)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_an_fsspec_address_reads_as_a_local_file(tmp_path, memory, suffix):
    path = raw_logs.write(tmp_path / f"a{suffix}")
    memory.pipe(f"/logs/day=1/a{suffix}", path.read_bytes())
    memory.pipe("/logs/_SUCCESS", b"")
    for given in ("memory://logs", f"memory://logs/*/*{suffix}"):
        (file,) = files.find([given])
        assert file.size == path.stat().st_size
        assert file.constants == (("day", "1"),)
        assert files.find([file.address])[0].constants == ()
        frame, numbers, _ = raw_logs.whole(file.address, size=1_000, rows=150)
        local, local_numbers, _ = raw_logs.whole(path)
        assert_frame_equal(frame, local)
        assert numbers == local_numbers
        assert files.ends(file.address) == hash_ends(path)


def test_a_file_system_without_its_package_is_told(memory, monkeypatch):
    memory.pipe("/logs/a.csv", b"")
    with pytest.raises(UserError, match=r"nosuch.*not known"):
        files.find(["nosuch://logs"])
    with pytest.raises(UserError, match="chain of addresses"):
        files.find(["zip://logs::memory://a.zip"])
    with pytest.raises(UserError, match="memory://nowhere"):
        files.find(["memory://nowhere"])
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[remote\]'"):
        files.find(["s3://bucket/logs"])
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(UserError, match=r"pip install -e '.\[remote\]'"):
        files.find(["memory://logs"])


def test_every_file_says_its_name(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,_file\n1,mine\n")
    for name, columns, row in (
        ("a.csv", ["_file", "x"], ("a.csv", "1")),
        ("a.csv", ["_file"], ("a.csv",)),
        ("b.csv", ["x", "_file"], ("1", "mine")),  # a column of the file goes before
    ):
        frame, _, _ = raw_logs.whole(tmp_path / name, columns)
        assert frame.rows() == [row]
        assert frame.columns == columns
    with pytest.raises(UserError, match=r"has no column 'z'.* Its columns are: x, y\.$"):
        raw_logs.whole(tmp_path / "a.csv", ["z"])
