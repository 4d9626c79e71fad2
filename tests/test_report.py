"""What the terminal shows and that the pictures are pictures."""

import io
import re

import matplotlib.image
import numpy as np
import pytest
import rich.console

from dtn_jax import metrics, report
from dtn_jax.schema import Field, Schema, Task

BINARY = {
    "auc": 0.81234,
    "logloss": 0.32106,
    "ece": 0.01234,
    "positives": 1_234_567,
    "examples": 12_345_678,
    "base_rate": 0.1,
    "mean_prediction": 0.0009876,
}
NOTHING = dict.fromkeys(BINARY) | {"positives": 0, "examples": 0}
REGRESSION = {"rmse": 12.345678, "mae": 9.87, "r2": -0.25, "examples": 77}


def schema(*tasks):
    return Schema("shop", fields=(Field("item", rows=3),), tasks=tasks)


SCHEMA = schema(
    Task("click"),
    Task("conversion", space="click", also_report=("all",)),
    Task("seconds", kind="regression"),
)
RESULTS = {
    "click@all": BINARY,
    "conversion@click": NOTHING,
    "conversion@all": BINARY,
    "seconds@all": REGRESSION,
}


def text_of(table):
    console = rich.console.Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(table)
    return console.file.getvalue()


def row(text, key):
    return next(line.split()[1:] for line in text.splitlines() if line.startswith(key))


def test_results_table():
    text = text_of(report.results_table(RESULTS, SCHEMA, "Test"))
    assert text.splitlines()[0].strip() == "Test"
    expected = ["0.8123", "0.3211", "0.0123", "0.0988%", "10.0%", "1,234,567", "12,345,678"]
    assert row(text, "click@all") == row(text, "conversion@all") == expected
    assert row(text, "conversion@click") == ["n/d"] * 5 + ["0", "0"]
    assert row(text, "seconds@all") == ["12.35", "9.87", "-0.2500", "77"]
    for header in ("AUC", "ECE", "positives", "examples", "RMSE", "MAE", "R²"):
        assert header in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_only_the_tables_that_have_rows():
    only_click = {"click@all": BINARY}
    text = text_of(report.results_table(only_click, schema(Task("click"))))
    assert "AUC" in text
    assert "RMSE" not in text


def test_splits_stand_below_each_other():
    splits = {"validation": RESULTS, "test": {**RESULTS, "click@all": BINARY | {"auc": 0.5}}}
    lines = text_of(report.splits_table(splits, SCHEMA)).splitlines()
    first = [line.split()[0] for line in lines if line.strip()]
    binary = ["click@all", "conversion@click", "conversion@all"]
    start = first.index("validation")
    assert first[start : start + 8] == ["validation", *binary, "test", *binary]
    clicks = [line.split()[1] for line in lines if line.startswith("click@all")]
    assert clicks == ["0.8123", "0.5000"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (None, "%", "n/d"),
        (0.0, "%", "0%"),
        (1.0, "%", "100.%"),
        (0.456, "%", "45.6%"),
        (0.01, "%", "1.00%"),
        (2e-6, "%", "0.0002%"),
        (1234.5, ".4g", "1234"),
    ],
)
def test_numbers(value, form, text):
    assert report._cell(value, form).replace("100%", "100.%") == text


def progress_output(updates, *, interactive=None, seconds=1.0, start_step=0):
    """What Progress writes for `updates` updates of 10 steps and 1000 examples each."""
    now = 1000.0
    console = rich.console.Console(
        file=io.StringIO(), width=80, force_terminal=bool(interactive), get_time=lambda: now
    )
    total = start_step + 10 * updates
    with report.Progress(
        total, 2, start_step, console=console, interactive=interactive
    ) as progress:
        for i in range(updates):
            now += seconds
            step = start_step + 10 * (i + 1)
            losses = {"click": 0.5 / (i + 1), "order": 0.25}
            progress.update(step=step, epoch=2 * i // updates, losses=losses, examples=1000)
    return console.file.getvalue()


def test_progress_without_a_terminal_is_plain_lines_every_ten_seconds():
    output = progress_output(40)
    assert "\x1b" not in output
    assert "\r" not in output
    lines = output.splitlines()
    # updates at 1, 2, ... 40 s: lines at 1, 11, 21, 31 and the last one at 40
    assert [int(re.search(r"step (\d+)/400", line)[1]) for line in lines] == [
        10,
        110,
        210,
        310,
        400,
    ]
    assert lines[0].startswith("epoch 1/2 | step 10/400 | loss click 0.5000  order 0.2500")
    # 10 steps and 1000 examples a second; 400 - 110 steps are left
    assert "1,000 examples/s" in lines[1]
    assert lines[1].endswith("0:00:29 left")
    assert lines[-1].startswith("epoch 2/2")
    assert "left" not in lines[-1]


def test_progress_resumed_does_not_count_the_steps_before():
    lines = progress_output(40, start_step=100_000).splitlines()
    assert "step 100110/100400" in lines[1]
    assert "1,000 examples/s" in lines[1]
    assert lines[1].endswith("0:00:29 left")


def test_progress_measures_speed_with_rare_updates():
    lines = progress_output(5, seconds=50.0).splitlines()
    assert len(lines) == 5
    assert all("20 examples/s" in line for line in lines[1:])


def test_progress_in_a_terminal_is_a_bar():
    output = progress_output(4, interactive=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert "\x1b" in output
    assert "epoch 2/2" in plain
    assert "40/40" in plain
    assert "loss  click 0.1250  order 0.2500" in plain


def test_progress_leaves_the_terminal_in_order_after_an_error():
    console = rich.console.Console(file=io.StringIO(), force_terminal=True)
    with (
        pytest.raises(RuntimeError, match="stop"),
        report.Progress(10, 1, console=console, interactive=True),
    ):
        raise RuntimeError("stop")
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def picture(path):
    """The picture as `[height, width, 4]`, checked to be a PNG with something on it."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels[::5, ::5, 0])) > 10
    return pixels


def history():
    rng = np.random.default_rng(0)
    records = []
    for step in range(20, 2001, 20):
        train = {"loss/click": 0.4 + 0.3 * np.exp(-step / 500), "loss/order": 0.02 + rng.random()}
        records.append({"kind": "train", "step": step, "epoch": step // 1000, **train})
        if step % 500 == 0:
            validation = {"click@all/auc": 0.7 + step * 1e-5, "click@all/logloss": 0.3}
            validation |= {"order@click/auc": None if step == 500 else 0.6, "stars@all/r2": 0.1}
            records.append({"kind": "validation", "step": step, **validation})
    return records


@pytest.mark.parametrize("records", [history(), history()[:1], []], ids=["full", "one", "none"])
def test_learning_curves(records, tmp_path):
    path = tmp_path / "plots" / "learning.png"
    report.learning_curves(records, path)
    picture(path)


def test_series_skips_what_is_not_defined_and_keeps_the_later_of_two():
    records = [
        {"kind": "train", "step": 2, "loss/a": 5.0},
        {"kind": "train", "step": 1, "loss/a": 1.0},
        {"kind": "train", "step": 2, "loss/a": 2.0},  # logged again after a resume
        {"kind": "train", "step": 3, "loss/a": None},
        {"kind": "train", "step": 4, "loss/a": float("nan")},
        {"kind": "validation", "step": 5, "loss/a": 5.0},
    ]
    series = report._series(records, "train", ["loss/a", "loss/b"])
    assert list(series) == ["loss/a"]
    np.testing.assert_array_equal(series["loss/a"], [[1, 2], [1, 2]])


def test_smoothing_is_a_centred_mean():
    values = np.random.default_rng(0).random(200)  # a window of 2 * 5 + 1
    smooth = report._smooth(values)
    for i in (0, 3, 100, 199):
        np.testing.assert_allclose(smooth[i], values[max(i - 5, 0) : i + 6].mean())


def curve(rate, rows, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=rows) + np.log(rate / (1 - rate))
    labels = (rng.random(rows) < metrics.sigmoid(logits)).astype(float)
    return metrics.calibration_curve(metrics.sigmoid(logits), labels, 15)


def test_reliability(tmp_path):
    zeros = metrics.calibration_curve(np.full(9, 1e-12), np.zeros(9), 15)
    ones = metrics.calibration_curve(np.ones(9), np.ones(9), 15)
    curves = {"click@all": curve(0.45, 2000), "order@click": curve(0.01, 2000), "none@all": None}
    report.reliability(curves, tmp_path / "three.png")
    three = picture(tmp_path / "three.png")
    report.reliability(curves | {"zeros@all": zeros, "ones@all": ones}, tmp_path / "five.png")
    five = picture(tmp_path / "five.png")
    assert five.shape[0] > 1.5 * three.shape[0]  # two rows of diagrams
    assert five.shape[1] == three.shape[1]


def test_wilson_interval():
    # n = 10, p = 0, z = 2: centre 4/20 / (1 + 4/10) = 1/7, half width the same: [0, 2/7]
    # n = 4, p = 1/2, z = 2: centre (1/2 + 1/2) / 2 = 1/2; sqrt(1/16 + 4/64) 2 / 2 = 1/sqrt(8)
    low, high = report.wilson(np.array([0.0, 0.5]), np.array([10, 4]), z=2.0)
    np.testing.assert_allclose(low, [0, 0.5 - 8**-0.5], atol=1e-15)
    np.testing.assert_allclose(high, [2 / 7, 0.5 + 8**-0.5])
