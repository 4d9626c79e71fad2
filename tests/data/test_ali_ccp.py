"""Ali-CCP's reader: generated files come back as the generator's rows, whatever their form."""

import collections
import gzip

import numpy as np
import polars as pl
import pytest
from ali_ccp_pair import OPTIONS, SPEC, copied, load, own_rows, write_released

from dtn_jax.datasets.ali_ccp import files as ali_ccp_files
from dtn_jax.datasets.ali_ccp.builder import BAGS, CROSSES, held_out
from dtn_jax.datasets.ali_ccp.text import FIELDS
from dtn_jax.datasets.preparation import text_lines
from dtn_jax.input.reader import SplitReader

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    ali_ccp_files.write(SPEC, folder / "ali_ccp")
    return folder


@pytest.fixture(scope="module")
def whole(manual, tmp_path_factory):
    return load(manual, tmp_path_factory.mktemp("whole"))


# --- the round trip ------------------------------------------------------------------------------


def caps(name):
    return 4 if name in BAGS else 1


@pytest.fixture(scope="module")
def vocabularies():
    """{field: {value: row}}, by a loop over train."""
    made = {}
    for name in FIELDS:
        counts = collections.Counter(
            value for values in own_rows()["train"][name] for value in values[: caps(name)]
        )
        frequent = [(-n, str(v)) for v, n in counts.items() if n >= 2]
        made[name] = {int(v): row for row, (_, v) in enumerate(sorted(frequent), 1)}
    return made


@pytest.mark.parametrize("split", SPLITS)
def test_generated_files_come_back_as_the_generators_rows(whole, vocabularies, split):
    rows, got = own_rows()[split], SplitReader(whole, split).everything()
    assert len(got.ids) == len(rows) == whole.rows[split]
    np.testing.assert_array_equal(got.labels, rows.select("click", "conversion").to_numpy())
    assert got.label_mask.all()
    users = rows["101"].list.first().to_numpy()
    np.testing.assert_array_equal(whole.groups(split), users)
    slot = weight = 0
    for field in whole.schema.fields:
        ids, weights = [], []
        for values, strengths in zip(rows[field.name], rows[f"{field.name}_weights"]):
            kept = [vocabularies[field.name].get(v, 0) for v in values[: field.slots]]
            if not kept and field.kind == "categorical":
                kept = [0]
            padding = field.slots - len(kept)
            ids.append(kept + [-1] * padding)
            weights.append(strengths[: field.slots].to_list() + [0.0] * padding)
        np.testing.assert_array_equal(got.ids[:, slot : slot + field.slots], ids, field.name)
        slot += field.slots
        if field.weighted:
            stored = got.weights[:, weight : weight + field.slots]
            np.testing.assert_array_equal(stored, np.float32(weights), field.name)
            weight += field.slots
    assert (slot, weight) == (got.ids.shape[1], got.weights.shape[1])
    cut = whole.notes["values_that_found_no_slot"][split]
    for field in whole.schema.fields:
        lost = (rows[field.name].list.len().cast(pl.Int64) - field.slots).clip(0).sum()
        assert cut.get(field.name, 0) == lost
    assert sum(cut.values()) > len(rows)


def test_fields_tasks_and_split(whole):
    schema = whole.schema
    assert schema.field_names == FIELDS
    assert {f.name for f in schema.fields if f.kind == "bag"} == {*BAGS, *CROSSES}
    assert [f.slots for f in schema.fields if f.name in CROSSES] == [1, 1, 1]
    click, conversion = schema.tasks
    assert (click.upstream, conversion.upstream) == ((), ("click",))
    assert conversion.spaces == ("all", "click")
    assert schema.group == "101"
    held = held_out(np.arange(1, 100_001))
    assert abs(held.mean() - 0.1) < 0.005
    # Fixed for good: a validation split that moves makes old results incomparable.
    assert (np.flatnonzero(held[:60]) + 1).tolist() == [35, 39, 51]
    high = np.arange(1, 100_001) << 32
    assert abs(held_out(high).mean() - 0.1) < 0.005
    assert not held_out(np.asarray([-1])).any()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", ("mean", True)), ("max", ("max", False)), ("unweighted", ("sum", False))],
)
def test_bags_are_pooled_as_the_option_says(manual, tmp_path, whole, pooling, expected):
    data = load(manual, tmp_path, f"{OPTIONS},pooling={pooling}")
    bags = [f for f in data.schema.fields if f.kind == "bag"]
    assert {(f.pooling, f.weighted) for f in bags} == {expected}
    rows, usual = (SplitReader(d, "validation").everything() for d in (data, whole))
    np.testing.assert_array_equal(rows.ids, usual.ids)
    assert rows.weights.shape[1] == (usual.weights.shape[1] if expected[1] else 0)


def test_conversions_without_a_click(manual, tmp_path, whole, capsys):
    odd = {s: int((r["conversion"] & ~r["click"]).sum()) for s, r in own_rows().items()}
    assert min(odd.values()) > 2
    assert whole.notes["conversions_without_click"] == odd
    options = OPTIONS.partition(",conversion")[0]
    dropped = load(manual, tmp_path, options)
    assert f"left out: {odd['train']} of train" in capsys.readouterr().out
    clicks = load(manual, tmp_path, f"{options},conversion_without_click=click")
    assert f"counted as clicks: {odd['train']} of train" in capsys.readouterr().out
    for split, rows in own_rows().items():
        assert dropped.notes["conversions_without_click"][split] == odd[split]
        assert dropped.rows[split] == len(rows) - odd[split]
        labels = SplitReader(dropped, split).everything().labels
        assert (labels[:, 0] >= labels[:, 1]).all()
        labels = SplitReader(clicks, split).everything().labels
        np.testing.assert_array_equal(labels[:, 0], rows["click"] | rows["conversion"])


# --- other forms of the same rows ----------------------------------------------------------------


def test_compressed_files_in_small_chunks_give_the_same(whole, tmp_path, monkeypatch):
    ali_ccp_files.write(SPEC, tmp_path / "manual" / "ali_ccp", compressed=True)
    assert {p.suffix for p in (tmp_path / "manual" / "ali_ccp").iterdir()} == {".gz"}
    monkeypatch.setattr(text_lines, "CHUNK_BYTES", 10_000)
    assert load(tmp_path / "manual", tmp_path).fingerprint == whole.fingerprint


def test_other_ends_of_lines_give_the_same(manual, whole, tmp_path):
    folder = copied(manual, tmp_path)
    for path in (folder / "ali_ccp").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\n"))
    assert load(folder, tmp_path).fingerprint == whole.fingerprint


@pytest.mark.parametrize("compressed", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_line(whole, tmp_path, compressed):
    opened = gzip.open if compressed else open
    for path in ali_ccp_files.write(SPEC, tmp_path / "manual" / "ali_ccp", compressed):
        with opened(path, "rb") as file:
            text = file.read()
        with opened(path, "wb") as file:
            file.write(b"\xef\xbb\xbf" + text)
    data = load(tmp_path / "manual", tmp_path)
    assert data.fingerprint == whole.fingerprint
    assert not any(found["damage"] for found in data.notes["lines"].values())


def test_files_of_the_released_reader_give_the_same_rows(manual, tmp_path):
    write_released(tmp_path / "released" / "ali_ccp")
    options = f"{OPTIONS},pooling=unweighted"
    published, released = load(manual, tmp_path / "1", options), None
    released = load(tmp_path / "released", tmp_path / "2", options)
    assert released.fingerprint == published.fingerprint
    weighted = load(tmp_path / "released", tmp_path / "2")
    rows = SplitReader(weighted, "test").everything()
    assert set(np.unique(rows.weights)) == {0.0, 1.0}  # that reader drops the values
    lost = (sum(n for n in d.notes["values_that_found_no_slot"]["test"].values()) for d in
            (published, released))  # fmt: skip
    assert len(set(lost)) == 1


def test_what_the_released_reader_leaves_out_does_not_move_the_split(manual, tmp_path):
    """It drops conversions without a click, so that its lines have other numbers."""
    write_released(
        tmp_path / "released" / "ali_ccp",
        lambda lines: [line for line in lines if line.split(",")[1:3] != ["0", "1"]],
    )
    options = "max_values=4,pooling=unweighted"
    published = load(manual, tmp_path / "1", options)
    released = load(tmp_path / "released", tmp_path / "2", options)
    assert released.rows == published.rows
    assert released.fingerprint == published.fingerprint
