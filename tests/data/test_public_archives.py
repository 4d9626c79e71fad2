"""Archives of a stranger leave nothing outside their folder, and end in clean errors."""

import io
import struct
import tarfile
import zipfile

import pytest

from dtn_jax.datasets.public import archive
from dtn_jax.errors import UserError

WANTED = "set/log.csv"


def tar(path, *entries):
    """A tar.gz of (name, where it links to, or the bytes that it holds)."""
    with tarfile.open(path, "w:gz") as file:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                file.addfile(entry)
            else:
                entry.size = len(content)
                file.addfile(entry, io.BytesIO(content))


def zipped(path, change=bytes):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../escape", b"x")
        file.writestr("/escape", b"x")
        file.writestr(WANTED, b"a,b\n")
    path.write_bytes(change(path.read_bytes()))


def headers(data, place, value):
    """The archive's bytes with another number in each file's headers."""
    changed = bytearray(data)
    for mark, at in ((b"PK\3\4", place), (b"PK\1\2", place + 2)):
        start = -1
        while (start := data.find(mark, start + 1)) >= 0:
            struct.pack_into("<H", changed, start + at, value)
    return bytes(changed)


@pytest.fixture
def contained(tmp_path):
    (tmp_path / "in").mkdir()
    yield tmp_path / "in"
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert {p.name for p in (tmp_path / "in").iterdir()} <= {"a", "made"}


def unpacked(folder):
    return archive.unpack(folder / "a", [WANTED], folder / "made", "https://x")


def test_other_members_are_not_unpacked(contained):
    tar(contained / "a", ("../escape", b"x"), ("/escape", b"x"), (WANTED, b"a,b\n"))
    assert unpacked(contained)[WANTED].read_bytes() == b"a,b\n"
    assert [p.name for p in (contained / "made").rglob("*")] == ["set", "log.csv"]


def test_nor_from_a_zip(contained):
    zipped(contained / "a")
    assert unpacked(contained)[WANTED].read_bytes() == b"a,b\n"
    assert [p.name for p in (contained / "made").rglob("*")] == ["set", "log.csv"]


@pytest.mark.parametrize("link", ["/etc/passwd", "../../../etc/passwd", "log.csv", "set/log.csv"])
def test_a_link_is_not_followed_outside(contained, link):
    """Nor to itself, in a circle."""
    tar(contained / "a", (WANTED, link))
    with pytest.raises(UserError, match=r"https://x .*; it was discarded"):
        unpacked(contained)


@pytest.mark.parametrize(
    ("place", "value"), [(6, 1), (8, 77), (6, 0x40)], ids=["encrypted", "method", "strong"]
)
def test_a_zip_that_cannot_be_read(contained, place, value):
    zipped(contained / "a", lambda data: headers(data, place, value))
    with pytest.raises(UserError, match=r"https://x cannot be unpacked \(.*; it was discarded"):
        unpacked(contained)
