"""What a page's reader has before its first command: a log, a finished run."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
from page_shell import ROOT

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
        " --config.train.max_steps=2 --config.model.experts=mlp"
    )


def adult_model(shell) -> None:
    """models/adult_dtn, and the run behind it."""
    adult_run(shell)
    shell.run("dtn-jax export --workdir=runs/adult_dtn --out=models/adult_dtn")


def shop_models(shell) -> None:
    """models/shop_a and models/shop_b, and day.parquet: later rows with labels and an id."""
    logs(shell)
    day = shop_log(1000, seed=2).with_row_index("request_id")
    day.write_parquet(shell.folder / "day.parquet")
    shell.run(
        "dtn-jax prepare --infer --input='logs/*.parquet' --labels=click,cart,order"
        " --group=user_id --out=shop.yaml"
    )
    shell.run("dtn-jax prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=data")
    for side, model in {"a": "shared_bottom", "b": "mmoe"}.items():
        shell.run(
            f"dtn-jax train --config=configs/logs.py:{model},schema=shop.yaml"
            f" --workdir=runs/shop_{side} --config.data.data_dir=data --config.train.max_steps=2"
            " --config.model.experts=mlp"
        )
        shell.run(f"dtn-jax export --workdir=runs/shop_{side} --out=models/shop_{side}")


def clone(shell) -> None:
    """The repository, where its own commands run."""
    for path in ROOT.iterdir():
        if path.name != ".venv":
            (shell.folder / path.name).symlink_to(path)


WORDS = ("linen", "wool", "cotton", "red", "blue", "sale", "new", "large", "small")


def wide_log(rows: int, seed: int = 0) -> pl.DataFrame:
    """A shop's log with a column of each kind: lists, sequences, vectors, numbers, a watch time.

    Users click what they like, upper positions more often; the histories hold items at random.
    """
    draw, known = np.random.default_rng(seed), np.random.default_rng(9)
    item, user = (1 + (most * draw.random(rows) ** 2).astype(int) for most in (400, 600))
    quality, price = known.normal(size=401), known.lognormal(3, 1, 401).round(2)
    position = draw.integers(1, 11, rows)
    odds = {"click": 1.5 * quality[item] - 0.1 * position, "cart": 1 - price[item] / 20}
    odds["order"] = quality[item] - price[item] / 40
    labels, above = {}, np.ones(rows, bool)
    for name, z in odds.items():
        labels[name] = above = above & (draw.random(rows) < 1 / (1 + np.exp(-z)))
    viewed = [1 + (400 * draw.random(n) ** 2).astype(int) for n in draw.integers(0, 9, rows)]
    seconds = np.sort(draw.integers(0, DAYS * 86400, rows))
    watched = draw.exponential(20 * np.exp(quality[item] / 4))
    columns = {
        "t": [START + datetime.timedelta(seconds=int(second)) for second in seconds],
        "user_id": user,
        "item_id": item,
        "category": [f"c{number % 8}" for number in item],
        "words": [list(draw.choice(WORDS, n)) for n in draw.integers(0, 5, rows)],
        "viewed": [items.tolist() for items in viewed],
        "viewed_action": [list(draw.choice(["look", "cart"], len(v))) for v in viewed],
        "price": pl.Series(price[item]).set(pl.Series(draw.random(rows) < 0.05), None),
        "age": draw.integers(18, 80, rows),
        "position": position,
        "embedding": (quality[item, None] + draw.normal(size=(rows, 4))).round(3).tolist(),
        "watch_seconds": (labels["click"] * watched).round(1),
    }
    return pl.DataFrame(columns | {name: found.astype(int) for name, found in labels.items()})


def wide(shell) -> None:
    """shop.parquet: a log with a column of each kind."""
    wide_log(10_000).write_parquet(shell.folder / "shop.parquet")


def visits(shell) -> None:
    """raw/visits: two files for the data set of docs/examples/my_data.py."""
    rng, rows = np.random.default_rng(0), 9000
    taste, price = rng.normal(size=(50, 3)), rng.lognormal(2, 1, 40).round(2)
    visitor, item = rng.integers(0, 50, rows), rng.integers(0, 40, rows)
    click = rng.random(rows) < 1 / (1 + np.exp(-2 * taste[visitor, item % 3]))
    buy = click & (rng.random(rows) < 1 / (1 + price[item] / 8))
    columns = {"visitor": visitor, "item": item, "click": click, "buy": buy}
    days = [datetime.date(2026, 3, 1 + row * 9 // rows) for row in range(rows)]
    folder = shell.folder / "raw/visits"
    folder.mkdir(parents=True)
    frame = pl.DataFrame(columns).with_columns(pl.all().cast(int), date=pl.Series(days))
    frame.write_csv(folder / "visits.csv")
    pl.DataFrame({"item": range(40), "price": price}).write_csv(folder / "items.csv")


GIVEN = {
    "clone": clone,
    "raw/visits": visits,
    "logs": logs,
    "shop.parquet": wide,
    "runs/adult_dtn": adult_run,
    "models/adult_dtn": adult_model,
    "models/shop_a": shop_models,
}
