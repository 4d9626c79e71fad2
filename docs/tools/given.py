"""What a page's reader has before its first command: a log, a finished run."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
from page_shell import ROOT

from dtn_jax.datasets import adult

DAYS, START = 10, datetime.datetime(2026, 3, 1)


def shop_log(rows: int, seed: int = 0) -> pl.DataFrame:
    """Ten days of a shop's impressions with click, cart and order, in the order of time.

    A click depends on item, hour and user; a cart needs a click, an order a cart, and both depend
    on price too.
    """
    draw, known = np.random.default_rng(seed), np.random.default_rng(9)
    item, user = (np.minimum(draw.zipf(1.2, rows), 400) for _ in "iu")
    quality, taste = known.normal(size=401), known.normal(size=401)
    price = np.exp(known.normal(2, 1, 401))[item].round(2)
    seconds = np.sort(draw.integers(0, DAYS * 86400, rows))
    hour = seconds // 3600 % 24
    log_odds = quality[item] + 0.8 * taste[user] * (item % 3 - 1) + np.sin(hour / 4) - 0.5
    chances = {"click": log_odds, "cart": taste[item] - 0.4 * np.log(price) + 0.5}
    labels = {name: draw.random(rows) < 1 / (1 + np.exp(-z)) for name, z in chances.items()}
    labels["cart"] &= labels["click"]
    labels["order"] = labels["cart"] & (draw.random(rows) < 1 / (1 + np.log1p(price) / 2))
    columns = {
        "user_id": user,
        "item_id": item,
        "device": draw.choice(["phone", "tablet", "desktop"], rows, p=[0.7, 0.1, 0.2]),
        "price": price,
        "t": [START + datetime.timedelta(seconds=int(second)) for second in seconds],
    }
    return pl.DataFrame(columns | {name: found.astype(int) for name, found in labels.items()})


def logs(shell) -> None:
    """logs/, two days' later rows in day2/, and rows to score in day/: Parquet."""
    frame = shop_log(6000)
    later = shop_log(3000, seed=1).with_columns(pl.col("t") + datetime.timedelta(days=DAYS))
    for name, part in {"logs": frame, "day2": later, "day": later[-700:]}.items():
        (shell.folder / name).mkdir()
        for at in (0, 1):
            part[at::2].write_parquet(shell.folder / name / f"{at}.parquet")


def adult_run(shell) -> None:
    """runs/adult_dtn: a finished run of two steps."""
    shell.run(
        "dtn-jax train --config=configs/adult.py:dtn,quick --workdir=runs/adult_dtn"
        " --config.train.max_steps=2"
    )


def adult_model(shell) -> None:
    """models/adult_dtn, and the run behind it."""
    adult_run(shell)
    shell.run("dtn-jax export --workdir=runs/adult_dtn --out=models/adult_dtn")


def adult_scores(shell) -> None:
    """scores_a.parquet and scores_b.parquet, as `score` writes them of labelled rows with an id."""
    rows = pl.read_parquet(adult.FILE)[:2000].with_row_index("request_id")
    for seed, side in enumerate("ab"):
        noise = pl.Series(np.random.default_rng(seed).random(len(rows)))
        of = {
            "income@all": pl.col("income") == ">50K",
            "never_married@all": pl.col("marital-status") == "Never-married",
        }
        scores = {name: 0.1 + 0.3 * is_so.cast(float) + 0.5 * noise for name, is_so in of.items()}
        rows.with_columns(**scores).write_parquet(shell.folder / f"scores_{side}.parquet")


def clone(shell) -> None:
    """The repository, where its own commands run."""
    for path in ROOT.iterdir():
        if path.name != ".venv":
            (shell.folder / path.name).symlink_to(path)


GIVEN = {
    "clone": clone,
    "logs": logs,
    "runs/adult_dtn": adult_run,
    "models/adult_dtn": adult_model,
    "scores_a.parquet": adult_scores,
}
