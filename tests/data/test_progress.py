"""What is shown while a set is prepared."""

import io

import polars as pl
import pytest
import rich.console
import tensorflow_datasets as tfds
from shop import prepare
from tensorflow_datasets.core.utils import tqdm_utils

from dtn_jax.datasets.preparation import progress
from dtn_jax.report import screen


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
    shown = io.StringIO()
    console = rich.console.Console(file=shown, force_terminal=True, width=70)
    monkeypatch.setattr(screen, "console", lambda: console)
    prepare(splits, tmp_path)
    text = shown.getvalue()
    for bar in ("fit on train", "train", "validation", "test"):
        assert bar in text
    last = text[text.rindex("fit on train") :]
    for rows in ("101 rows", "24 rows", "7 rows"):
        assert rows in last


def test_a_bar_knows_the_total_or_does_not(monkeypatch):
    shown = io.StringIO()
    console = rich.console.Console(file=shown, force_terminal=True, width=70)
    monkeypatch.setattr(screen, "console", lambda: console)
    with progress.Rows() as rows:
        items = rows.count(["abc", "de"], "of a known size", total=1_005)
        assert next(items) == "abc"
        assert next(items) == "de"
        rows._bars.refresh()
        assert "3 of 1,005 rows" in shown.getvalue()
        assert list(items) == []
        items = rows.count(["abc", "de"], "of any size", rows=lambda item: 10 * len(item))
        assert list(items) == ["abc", "de"]
    text = shown.getvalue()
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
