"""Small logs of KuaiRand's form, and the sets prepared from them."""

import datetime

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation import catalog

FIRST = datetime.date(2022, 4, 8)  # a Friday


def log(days=15, rows=40, seed=0):
    """A small log; every day has `rows` impressions."""
    rng = np.random.default_rng(seed)
    dates = [int((FIRST + datetime.timedelta(d)).strftime("%Y%m%d")) for d in range(days)]
    n = days * rows
    click = rng.integers(0, 2, n)
    columns = {
        "user_id": rng.integers(0, 12, n),
        "video_id": rng.integers(0, 60, n),
        "date": np.repeat(dates, rows),
        "hourmin": rng.integers(0, 24, n) * 100,
        "duration_ms": rng.integers(1_000, 90_000, n),
        "is_click": click,
        "long_view": click * rng.integers(0, 2, n),
        "tab": rng.integers(0, 3, n),  # not read
    }
    rare = ("is_profile_enter", "is_comment", "is_forward", "is_follow")
    return pl.DataFrame(columns | {name: rng.integers(0, 2, n) for name in rare})


def prepare(frames, tmp_path, **kwargs):
    """Writes {file name: frame} and prepares them."""
    folder = tmp_path / "manual" / "kuairand"
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        if name.endswith(".csv"):
            frame.write_csv(folder / name)
        else:
            frame.write_parquet(folder / name)
    return catalog.load(
        "kuairand", data_dir=str(tmp_path / "data"), manual_dir=str(tmp_path / "manual"), **kwargs
    )


def rows(prepared, split):
    """The ids, labels and groups of a split, in file order."""
    source = prepared.source(split)
    lengths = prepared.layout.blocks(prepared.rows[split])
    read = [{k: source[i][k][:n] for k in ("ids", "labels")} for i, n in enumerate(lengths)]
    joined = {k: np.concatenate([r[k] for r in read]) for k in read[0]}
    return joined | {"group": prepared.groups(split)}


def account_of(prepared, capsys):
    """What was said of a set when it was prepared, which is also kept."""
    lines = prepared.notes.get("account", [])
    shown = capsys.readouterr().out
    assert all(f"kuairand: {line}" in shown for line in lines)
    return lines
