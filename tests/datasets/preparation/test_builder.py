"""From raw frames to a prepared set on disk: what is written and shown."""

import functools
import hashlib
import io
import json
import pathlib

import numpy as np
import polars as pl
import pytest
import rich
import rich.console
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils
from test_checks import ENCODERS, TASKS

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import RULES, BlockBuilder
from dtn_jax.datasets.preparation.catalog import cache_folder
from dtn_jax.datasets.preparation.groups import check_group, group_numbers
from dtn_jax.datasets.preparation.prepared import read
from dtn_jax.errors import UserError

# --- preparing -----------------------------------------------------------------------------------


class Shop(BlockBuilder, skip_registration=True):
    """A small set whose frames are given."""

    weight = "w"

    def __init__(self, splits, **kwargs):
        self.splits = splits
        super().__init__(**kwargs)

    def encoders(self):
        return ENCODERS

    def tasks(self):
        return TASKS

    def layout(self):
        return Layout(lanes=3, block_rows=4)

    def notes(self):
        return {"shops": 1}

    def raw(self, dl_manager):
        return {split: functools.partial(iter, frames) for split, frames in self.splits.items()}


def shop_frame(rows, seed):
    rng = np.random.default_rng(seed)
    seconds = rng.normal(size=rows)
    seconds[::5] = np.nan
    click = pl.Series(rng.integers(0, 2, rows)).set(pl.Series(rng.random(rows) < 0.2), None)
    return pl.DataFrame(
        {
            "w": rng.integers(1, 4, rows),
            "id": rng.integers(0, 7, rows),
            "word": rng.choice(["a", "b", "c"], rows),
            "size": rng.integers(0, 9, rows),
            "speed": rng.normal(size=rows),
            "click": click,
            "seconds": seconds,
            "ignored": ["x"] * rows,
        }
    )


@pytest.fixture
def splits():
    sizes = {"train": 101, "validation": 24, "test": 7}
    frames = {s: shop_frame(n, seed) for seed, (s, n) in enumerate(sizes.items())}
    new = pl.Series("word", ["new", "b", None, "a", "a", "a", "other"])
    return {
        "train": [frames["train"][:40], frames["train"][40:40], frames["train"][40:]],
        "validation": [frames["validation"]],
        "test": [frames["test"].with_columns(new)],
    }


def prepare(splits, folder):
    builder = Shop(splits, data_dir=str(folder))
    builder.download_and_prepare()
    return read(pathlib.Path(builder.data_dir))


def rows_of(data, split):
    """The split's arrays, read back and joined."""
    records = list(data.source(split))
    sizes = data.layout.blocks(data.rows[split])
    assert len(records) == len(sizes)
    assert all(len(r["ids"]) == data.layout.block_rows for r in records)
    return {
        k: np.concatenate([r[k][:n] for r, n in zip(records, sizes, strict=True)])
        for k in records[0]
    }


def test_prepared_rows_are_the_raw_rows_in_order(splits, tmp_path):
    data = prepare(splits, tmp_path)
    assert data.rows == {"train": 101, "validation": 24, "test": 7}
    fitted = enc.fit(ENCODERS, splits["train"])
    assert data.encoders() == fitted
    assert [f.name for f in data.schema.fields] == ["word", "size", "speed", "id"]
    assert data.schema.tasks == TASKS
    assert data.schema.weight == "w"
    for split, frames in splits.items():
        frame, got = pl.concat(frames), rows_of(data, split)
        for slot, (name, encoder) in enumerate(fitted.items()):
            np.testing.assert_array_equal(got["ids"][:, slot], encoder.encode(frame[name]))
        np.testing.assert_array_equal(got["numeric"][:, 0], fitted["speed"].values(frame["speed"]))
        np.testing.assert_array_equal(got["sample_weight"], frame["w"].to_numpy())
        click, seconds = frame["click"], frame["seconds"].fill_nan(None)
        known = np.stack([click.is_not_null(), seconds.is_not_null()], axis=1)
        np.testing.assert_array_equal(got["label_mask"], known)
        labels = [click.fill_null(0).to_numpy(), seconds.fill_null(0).to_numpy()]
        np.testing.assert_array_equal(got["labels"], np.float32(np.stack(labels, axis=1)))
        assert {k: v.dtype.name for k, v in got.items()} == {
            "ids": "int32",
            "labels": "float32",
            "label_mask": "uint8",
            "numeric": "float32",
            "sample_weight": "float32",
        }


def test_prepared_json_holds_the_facts(splits, tmp_path):
    data = prepare(splits, tmp_path)
    facts = json.loads((data.folder / "prepared.json").read_text())
    assert facts["layout"] == {"lanes": 3, "block_rows": 4}
    assert facts["rows"] == {"train": 101, "validation": 24, "test": 7}
    unknown = {
        split: {"word": 0, "size": 0, "speed": 0, "id": int((~frame["id"].is_between(1, 5)).sum())}
        for split, frame in ((s, pl.concat(f)) for s, f in splits.items())
    }
    unknown["test"]["word"] = 3  # two that train did not show and one that is missing
    assert facts["unknown_values"] == data.unknown_values == unknown
    for split, frames in splits.items():
        frame = pl.concat(frames)
        assert facts["missing_labels"][split] == {
            "click": frame["click"].null_count(),
            "seconds": -(-len(frame) // 5),
        }
    assert len(facts["fingerprint"]) == 64
    assert data.fingerprint == facts["fingerprint"]
    assert data.notes == {"shops": 1}
    on_disk = {p.name: p.stat().st_size for p in data.folder.iterdir()}
    assert {n for n in on_disk if "array_record" in n} | {"encoders.json"} == set(facts["files"])
    assert all(on_disk[n] == size for n, size in facts["files"].items())
    # All that lies there is JSON or records: no pickles.
    for name in on_disk:
        if "array_record" not in name:
            json.loads((data.folder / name).read_text())


def test_row_bytes_counts_every_array_of_a_batch(splits, tmp_path):
    data = prepare(splits, tmp_path)
    # Four ids, one number, two labels, the weight: 4 bytes each; two label masks and the row mask.
    assert data.row_bytes() >= 4 * (4 + 1 + 2 + 1) + 2 + 1


def test_the_fingerprint_is_that_of_the_values(splits, tmp_path):
    first = prepare(splits, tmp_path / "1")
    assert prepare(splits, tmp_path / "2").fingerprint == first.fingerprint
    # The same rows in other chunks.
    cut = {s: list(pl.concat(f).iter_slices(5)) for s, f in splits.items()}
    assert prepare(cut, tmp_path / "3").fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("split", "column", "value"),
    [
        ("train", "speed", 0.123),
        ("train", "word", "b"),
        ("validation", "click", 1),
        ("validation", "seconds", None),
        ("test", "w", 99),
        ("test", "id", 5),
    ],
)
def test_the_fingerprint_changes_with_one_value(splits, tmp_path, split, column, value):
    before = prepare(splits, tmp_path / "1").fingerprint
    frame = splits[split][-1]
    row = next(i for i, v in enumerate(frame[column]) if v != value and v == v and v is not None)
    values = frame[column].to_list()
    values[row] = value
    changed = frame.with_columns(pl.Series(column, values, dtype=frame[column].dtype))
    assert (changed[column].to_list() != frame[column].to_list()) or column == "seconds"
    splits[split] = [*splits[split][:-1], changed]
    assert prepare(splits, tmp_path / "2").fingerprint != before


def test_encoders_see_train_alone(splits, tmp_path):
    first = prepare(splits, tmp_path / "1")
    other = shop_frame(24, seed=9).with_columns(word=pl.lit("zzz"), size=pl.lit(1_000))
    second = prepare(splits | {"validation": [other]}, tmp_path / "2")
    assert second.encoders() == first.encoders()
    assert second.unknown_values["validation"]["word"] == 24


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("frames", ["none", "one without rows"])
def test_an_empty_split(splits, tmp_path, split, frames):
    splits[split] = [] if frames == "none" else [splits[split][0].clear()]
    with pytest.raises(UserError, match=f"the {split} split is empty"):
        prepare(splits, tmp_path)
    assert not list(tmp_path.rglob("*.json"))  # nothing half prepared is left


def test_train_is_checked_before_the_encoders_see_it(splits, tmp_path):
    late = splits["train"][-1]
    splits["train"][-1] = late.drop("size")
    with pytest.raises(UserError, match="shop/train: column 'size' is missing"):
        prepare(splits, tmp_path)
    splits["train"][-1] = late.with_columns(size=pl.lit("many"))
    with pytest.raises(UserError, match="shop/train: column 'size' must be numeric, got String"):
        prepare(splits, tmp_path)


def test_a_bad_label_is_found_by_its_row(splits, tmp_path):
    frame = splits["train"][-1]
    bad = frame["click"].to_list()
    bad[2] = 3
    splits["train"][-1] = frame.with_columns(click=pl.Series(bad))
    with pytest.raises(UserError, match="shop/train: label 'click' is 3 in row 43"):
        prepare(splits, tmp_path)


def test_the_cache_folder_is_the_users(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == pathlib.Path("/somewhere/dtn_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == pathlib.Path("/home/me/.cache/dtn_jax")


# --- what is shown -------------------------------------------------------------------------------


def test_two_lines_where_no_terminal_is(splits, tmp_path, capfd):
    folder = tmp_path / "a [bold]long[/] name, which no line of eighty characters could hold" / "x"
    data = prepare(splits, folder)
    shown = capfd.readouterr()
    assert shown.err == ""
    first, second = shown.out.splitlines()
    assert first == f"Preparing shop in {data.folder}"
    assert second.startswith(
        "shop: 101 train, 24 validation, 7 test rows; unknown values (missing,"
    )
    share = 100 * data.unknown_values["train"]["id"] / 404
    assert f"{share:.1f} % of train" in second
    clicks = pl.concat(splits["train"])["click"].null_count()
    assert f"missing labels: {clicks} of click in train, 21 of seconds in train" in second


def test_bars_on_a_terminal(splits, tmp_path, monkeypatch):
    screen = io.StringIO()
    console = rich.console.Console(file=screen, force_terminal=True, width=70)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    prepare(splits, tmp_path)
    text = screen.getvalue()
    for bar in ("fit on train", "train", "validation", "test"):
        assert bar in text
    last = text[text.rindex("fit on train") :]
    for rows in ("101 rows", "24 rows", "7 rows"):
        assert rows in last


def test_a_bar_knows_the_total_or_does_not(monkeypatch):
    screen = io.StringIO()
    console = rich.console.Console(file=screen, force_terminal=True, width=70)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    with progress.Rows() as rows:
        items = rows.count(["abc", "de"], "of a known size", total=1_005)
        assert next(items) == "abc"
        assert next(items) == "de"
        rows._bars.refresh()
        assert "3 of 1,005 rows" in screen.getvalue()
        assert list(items) == []
        items = rows.count(["abc", "de"], "of any size", rows=lambda item: 10 * len(item))
        assert list(items) == ["abc", "de"]
    text = screen.getvalue()
    last = text[text.rindex("of any size") + len("of any size") :]
    assert "of a known size" in text
    assert "50 rows" in last
    assert " of " not in last  # it is done: what was expected no longer matters


def test_tfds_bars_are_off_only_meanwhile():
    assert tqdm_utils._active
    with progress.without_tfds_bars():
        assert not tqdm_utils._active
    assert tqdm_utils._active
    tfds.disable_progress_bar()
    try:
        with pytest.raises(KeyError), progress.without_tfds_bars():
            raise KeyError
        assert not tqdm_utils._active
    finally:
        tfds.enable_progress_bar()


def test_summary_and_percent():
    text = progress.summary(
        "shop",
        {"train": 29_305, "test": 10},
        {"train": {"a": 703, "b": 0}, "test": {"a": 0, "b": 0}},
        {"train": {"click": 0}, "test": {"click": 0}},
    )
    assert text == (
        "shop: 29,305 train, 10 test rows; unknown values (missing, or not seen in train): "
        "1.2 % of train, 0 % of test"
    )
    assert [progress.percent(n, 10**6) for n in (0, 1, 99, 100, 5_400, 123_000)] == [
        "0 %",
        "< 0.01 %",
        "< 0.01 %",
        "0.01 %",
        "0.54 %",
        "12.3 %",
    ]
    assert progress.percent(999_999, 10**6) == "> 99.9 %"
    assert progress.percent(5, 5) == "100.0 %"


# --- groups --------------------------------------------------------------------------------------


class Grouped(Shop, skip_registration=True):
    """The same set, its rows grouped by a column that is a field too."""

    group = "word"


def test_groups_are_stored_in_row_order(splits, tmp_path):
    splits["test"][0] = splits["test"][0].with_columns(pl.col("word").fill_null("nobody"))
    builder = Grouped(splits, data_dir=str(tmp_path))
    builder.download_and_prepare()
    data = read(pathlib.Path(builder.data_dir))
    assert data.schema.group == "word"
    numbers = {}
    for split, frames in splits.items():
        groups = data.groups(split)
        assert groups.dtype == np.int64
        for word, number in zip(pl.concat(frames)["word"], groups, strict=True):
            assert numbers.setdefault(word, number) == number  # the same in every split and chunk
    assert len(set(numbers.values())) == len(numbers) == 6  # those that train lacks stay apart
    digest = hashlib.blake2b(b"a", digest_size=8).digest()  # fixed: prepared sets hold it
    assert numbers["a"] == int.from_bytes(digest, "little", signed=True) == 3405396810240292928


def test_sets_without_groups_are_as_they_were(splits, tmp_path):
    data = prepare(splits, tmp_path)
    assert data.groups("train") is None
    assert "group" not in data.source("train")[0]
    facts = (RULES, "1.0.0", enc.to_json(ENCODERS), TASKS, Layout(3, 4), "w")
    assert data.recipe == hashlib.sha256(repr(facts).encode()).hexdigest()
    assert Grouped(splits, data_dir=str(tmp_path / "grouped")).recipe() != data.recipe


@pytest.mark.parametrize(
    "column", [[3, -1, 3], [2**62 + 1, 2**62, 2**62 + 1], pl.Series([7, 0, 7], dtype=pl.UInt8)]
)
def test_whole_numbers_are_kept_as_groups(column):
    column = pl.Series("user", column)
    check_group(column.to_frame(), "user", "shop/train")
    np.testing.assert_array_equal(group_numbers(column), np.asarray(column.to_list(), np.int64))


def test_groups_of_texts_do_not_depend_on_the_chunk():
    column = pl.Series("user", ["ann", "Bob", "ann", ""])
    whole = group_numbers(column)
    assert whole[0] == whole[2]
    assert len(set(whole.tolist())) == 3
    np.testing.assert_array_equal(whole[1:3], group_numbers(column[1:3]))
    np.testing.assert_array_equal(whole, group_numbers(column.cast(pl.Categorical)))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"other": [1]}, "column 'user' is missing; the columns are: other"),
        ({"user": [1, None]}, r"group 'user' is None in row 102 .* expected a whole number"),
        ({"user": ["x", None]}, r"group 'user' is None in row 102"),
        ({"user": pl.Series([2**63], dtype=pl.UInt64)}, r"group 'user' is 9223372036854775808 in"),
        ({"user": [0.5]}, r"group 'user' has the type Float64; expected a whole number"),
    ],
)
def test_a_bad_group(column, message):
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check_group(pl.DataFrame(column), "user", "shop/train", first_row=100)


def test_the_builder_checks_its_groups(splits, tmp_path):
    with pytest.raises(UserError, match="test: group 'word' is None in row 3"):
        Grouped(splits, data_dir=str(tmp_path)).download_and_prepare()
