"""Ali-CCP's lines, sample ids and the join of both files, by hand-written ones."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from ali_ccp_pair import load, raw_line

from dtn_jax.datasets.ali_ccp import text as ali_ccp_text
from dtn_jax.datasets.ali_ccp.builder import BAGS, CROSSES, AliCCP, held_out
from dtn_jax.datasets.ali_ccp.text import FIELDS
from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation import text_lines
from dtn_jax.input.reader import SplitReader


@pytest.mark.parametrize("text", ["", "7a", "-7", "+7", "0x7", "7.0", " 7", "7" * 19])
def test_a_sample_id_is_a_whole_number_whatever_stands_beside_it(text):
    for others in ([], ["x"]):
        ids = ["7", text, *others, "1" * 18]
        lines = pa.array([f"{number},1,0,c,0," for number in ids])
        batch = pa.RecordBatch.from_arrays([pa.array(range(len(ids))), lines], ["number", "text"])
        damage = text_lines.Damage("x")
        rows, _ = ali_ccp_text.skeleton_rows(batch, damage)
        assert rows["sample_id"].to_pylist() == ["7", "1" * 18]
        assert damage.left_out == 1 + len(others)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize("text", [b"a\nbcd\n\nefghijkl\nm", b"a\r\n\r\nb\r", b"\n", b"\na\n", b""])
def test_lines_do_not_depend_on_the_chunks(tmp_path, monkeypatch, size, text):
    monkeypatch.setattr(text_lines, "CHUNK_BYTES", size)
    (tmp_path / "x").write_bytes(text)
    damage = text_lines.Damage(tmp_path / "x")
    chunks = list(text_lines.read_lines(tmp_path / "x", damage))
    texts = [t for c in chunks for t in c[text_lines.TEXT].to_pylist()]
    assert texts == text.decode().splitlines()
    numbers = [n for c in chunks for n in c[text_lines.NUMBER].to_pylist()]
    assert numbers == list(range(1, damage.lines + 1))
    assert damage.lines == len(texts)


def test_sample_ids_of_lines():
    texts = [b"7,1,0", b"", b"x,1", b"\xff7,1", b"9" * 18 + b",0", b"9" * 19 + b",0", b"8", b"0x1,"]
    expected = [7, -1, -1, -1, 10**18 - 1, -1, 8, -1]
    np.testing.assert_array_equal(ali_ccp_text.sample_ids(pa.array(texts)), expected)
    for text, number in zip(texts, expected, strict=True):  # whatever stands beside it
        assert ali_ccp_text.sample_ids(pa.array([text])).tolist() == [number]


def test_a_field_may_be_in_both_files_and_lines_may_point_nowhere(tmp_path, monkeypatch):
    """Against the general encoders on rows joined by loops."""
    monkeypatch.setattr(text_lines, "CHUNK_BYTES", 3_000)
    rng = np.random.default_rng(0)
    folder, frames = tmp_path / "ali_ccp", {}
    folder.mkdir()

    def draw(fields):
        return [
            (name, int(rng.integers(1, 30)), round(float(rng.random()), 3))
            for name in fields
            for _ in range(rng.integers(0, 6))
        ]

    for part, count in (("train", 400), ("test", 50)):
        common = {f"c{i}": draw(FIELDS[:18]) for i in range(25)}
        lines = [raw_line([index], features) for index, features in common.items()]
        (folder / f"common_features_{part}.csv").write_text("\n".join(lines))
        lines, rows = [], []
        for number in range(count):
            own, index = draw((*FIELDS[12:], "101")), f"c{rng.integers(0, 30)}"
            rng.shuffle(own)
            own = [(str(f), int(i), float(w)) for f, i, w in own]
            label = int(rng.integers(0, 2))
            lines.append(raw_line([str(number), str(label), "0", index], own))
            row = {"click": label, "conversion": 0}
            for name in FIELDS:
                every = [f for f in own + common.get(index, []) if f[0] == name]
                row[name] = [i for _, i, _ in every]
                row[f"{name}_weights"] = [w for _, _, w in every]
            rows.append(row)
        (folder / f"sample_skeleton_{part}.csv").write_text("\n".join(lines) + "\n")
        frames[part] = pl.DataFrame(rows)
    data = load(tmp_path, tmp_path, "min_count=12,max_values=4,damaged=30")
    frame = frames["train"].filter(~held_out(np.arange(400)))
    single = [name for name in FIELDS if name not in (*BAGS, *CROSSES)]

    def firsts(frame):
        return frame.with_columns(pl.col(single).list.first())

    encoders = AliCCP(data_dir=str(tmp_path), min_count=12, max_values=4).encoders()
    fitted = enc.fit(encoders, [firsts(frame)])
    assert data.encoders() == fitted
    got = SplitReader(data, "test").everything()
    expected = [enc.encode(n, e, firsts(frames["test"])) for n, e in fitted.items()]
    np.testing.assert_array_equal(got.ids, np.concatenate([e.ids for e in expected], axis=1))
    weights = np.concatenate([e.weights for e in expected if e.weights is not None], axis=1)
    np.testing.assert_array_equal(got.weights, weights)
    lost = data.notes["values_that_found_no_slot"]["test"]
    for name, field in zip(FIELDS, expected):
        also = (frames["test"][name].list.len().cast(pl.Int64) - 1).clip(0).sum()
        assert lost.get(name, 0) == (also if name in single else field.cut)
    users = frames["test"]["101"].list.first()
    groups = data.groups("test")
    known = users.is_not_null().to_numpy()
    np.testing.assert_array_equal(groups[known], users.drop_nulls())
    assert len(set(groups[~known].tolist())) == (~known).sum() > 0  # each alone
    assert (groups[~known] < 0).all()
