"""Cells are kept whole whatever happens: files first, one pack after that."""

import json
import lzma
import os
import pathlib
import threading

import numpy as np
import pytest

from dtn_jax.errors import UserError
from experiments.tables import draws, kept, pack

COUNT, ADDERS = 12, 4  # cells that each thread adds, and such threads


def cell(number, seed=0):
    rng = np.random.default_rng(seed)
    drawn = draws.packed(0.8 + rng.normal(size=50) / 100 + number / 1e4, 0.8)
    return {"results": {"test": {"click@all": {"auc": 0.8}}}, "draws": {"click@all": drawn},
            "number": number, "name with ü": "\x85 \u2028 [ü]"}  # fmt: skip


def file(folder, number, kind="cells"):
    return folder / kind / f"mmoe-{number}.json"


def add(folder, numbers):
    for number in numbers:
        kept.keep(file(folder, number), cell(number))


def everything(folder):
    """{number: its content}, each found as a table finds it."""
    paths = {*kept.singles(folder), *(folder / f"{name}.json" for name in pack.read(folder))}
    return {kept.read(path)["number"]: kept.read(path) for path in paths}


def test_what_is_packed_is_what_was_kept(tmp_path):
    add(tmp_path, range(5))
    kept.keep(file(tmp_path, 9, "tuning"), {"settings": {}, "number": 9})
    before = everything(tmp_path)
    kept.pack(tmp_path)
    assert kept.singles(tmp_path) == []
    assert everything(tmp_path) == before
    assert len(before) == 6
    assert kept.read(file(tmp_path, 77)) is None
    add(tmp_path, [7])  # adding goes on
    assert kept.read(file(tmp_path, 7)) == cell(7)
    kept.pack(tmp_path)
    assert everything(tmp_path) == before | {7: cell(7)}


def test_a_file_is_newer_than_the_pack(tmp_path):
    add(tmp_path, [1, 2])
    kept.pack(tmp_path)
    kept.keep(file(tmp_path, 1), cell(11))
    assert kept.read(file(tmp_path, 1)) == cell(11)
    kept.pack(tmp_path)
    assert kept.read(file(tmp_path, 1)) == cell(11)
    assert kept.read(file(tmp_path, 2)) == cell(2)


class Died(BaseException):
    pass


@pytest.mark.parametrize("at", ["fsync", "replace", "unlink"])
def test_whoever_dies_while_packing_loses_nothing(at, tmp_path, monkeypatch):
    """fsync: half written; replace: written, not in place; unlink: in place, files there still."""
    add(tmp_path, [1, 2])
    kept.pack(tmp_path)
    add(tmp_path, [3, 4])
    before = everything(tmp_path)
    died = []

    def dies(*arguments):
        died.append(arguments)
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(os if at == "fsync" else pathlib.Path, at, dies)
        with pytest.raises(Died):
            kept.pack(tmp_path)
    assert len(died) == 1
    assert everything(tmp_path) == before
    kept.pack(tmp_path)
    assert everything(tmp_path) == before
    assert kept.singles(tmp_path) == []


def test_a_pack_that_does_not_read_back_takes_no_place(tmp_path, monkeypatch):
    add(tmp_path, [1])
    kept.pack(tmp_path)
    add(tmp_path, [2])
    encoded = pack.encoded
    with monkeypatch.context() as patched:
        patched.setattr(pack, "encoded", lambda content: encoded({**content, "cells/mmoe-1": {}}))
        with pytest.raises(OSError, match="does not hold what was written"):
            kept.pack(tmp_path)
    assert everything(tmp_path) == {1: cell(1), 2: cell(2)}


def test_damage_is_told_and_nothing_written_over_it(tmp_path):
    """Any bit flipped, any end cut off: never other cells, never a new pack in its place."""
    add(tmp_path, range(3))
    kept.pack(tmp_path)
    add(tmp_path, [3])
    path, rng = tmp_path / pack.FILE, np.random.default_rng(0)
    whole = path.read_bytes()
    damaged = [whole[: int(n)] for n in rng.integers(len(whole), size=30)] + [b""]
    for at in rng.integers(8 * len(whole), size=100):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << (at % 8)
        damaged.append(bytes(flipped))
    lines = lzma.decompress(whole).split(b"\n")
    damaged.append(lzma.compress(b"\n".join([*lines[:2], *lines[3:]])))
    damaged.append(lzma.compress(b'{"format": 2, "lines": 0}\n'))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"cells\.jsonl\.xz is damaged .* put a whole copy"):
            kept.read(file(tmp_path, 0))
        with pytest.raises(UserError, match="damaged"):
            kept.pack(tmp_path)
        assert path.read_bytes() == data
        assert kept.read(file(tmp_path, 3)) == cell(3)
    path.write_bytes(whole)
    kept.pack(tmp_path)
    assert everything(tmp_path) == {n: cell(n) for n in range(4)}


def test_several_may_add_and_pack_at_once(tmp_path):
    """Threads, as the lock is of an open file: between processes it is the same."""
    found = []

    def adds_and_packs(first):
        for number in range(first, first + COUNT):
            add(tmp_path, [number])
            kept.pack(tmp_path)
            found.append(kept.read(file(tmp_path, number)) == cell(number))

    adding = [threading.Thread(target=adds_and_packs, args=(COUNT * i,)) for i in range(ADDERS)]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join(300)
    assert found == [True] * COUNT * ADDERS
    assert everything(tmp_path) == {n: cell(n) for n in range(COUNT * ADDERS)}
    assert kept.singles(tmp_path) == []


def test_without_locks_nothing_is_packed(tmp_path, monkeypatch):
    def none(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(kept.fcntl, "flock", none)
    add(tmp_path, [1])
    kept.pack(tmp_path)
    assert kept.singles(tmp_path) == [file(tmp_path, 1)]
    assert everything(tmp_path) == {1: cell(1)}


def test_what_is_made_anew_while_it_is_packed_stays(tmp_path, monkeypatch):
    add(tmp_path, [1])
    write = pack.write

    def meanwhile(folder, content):
        write(folder, content)
        kept.keep(file(tmp_path, 1), cell(1, seed=5))

    monkeypatch.setattr(pack, "write", meanwhile)
    kept.pack(tmp_path)
    assert kept.read(file(tmp_path, 1)) == cell(1, seed=5)


def test_a_damaged_file_is_not_packed(tmp_path):
    add(tmp_path, [1, 2])
    file(tmp_path, 1).write_text("{")
    kept.pack(tmp_path)
    assert [*pack.read(tmp_path)] == ["cells/mmoe-2"]
    with pytest.raises(kept.Damaged, match=r"mmoe-1\.json is damaged"):
        kept.read(file(tmp_path, 1))


def test_what_is_set_aside_can_be_looked_at(tmp_path):
    add(tmp_path, [1, 2])
    aside = kept.set_aside(file(tmp_path, 1))
    assert json.loads(aside.read_text())["number"] == 1
    assert kept.read(file(tmp_path, 1)) is None
    kept.pack(tmp_path)
    aside = kept.set_aside(file(tmp_path, 2))
    assert json.loads(aside.read_text())["number"] == 2
