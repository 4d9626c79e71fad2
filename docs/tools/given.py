"""What a page presupposes: `<!-- given: logs, day2 -->` puts it into the page's folder."""

from __future__ import annotations

import datetime
import pathlib

import numpy as np
import polars as pl

ROWS, DAYS = 20_000, 10
WORDS = ("linen", "wool", "cotton", "red", "blue", "sale", "new", "large", "small")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def shop(rows: int = ROWS, seed: int = 0, first: int = 1) -> pl.DataFrame:
    """Ten days of impressions of a shop that does not exist.

    Users click what they like, the upper positions more often; they put some of that into the cart,
    the cheaper items more often, and order some of what is there.

    Args:
      rows: how many.
      seed: of all that is drawn.
      first: the day of March 2026 on which they begin.
    """
    draw = np.random.default_rng(seed)
    world = np.random.default_rng(1)  # the same whatever the rows
    start = datetime.datetime(2026, 3, first)
    seconds = np.sort(draw.integers(0, DAYS * 86_400, rows))
    item, user = (1 + (most * draw.random(rows) ** 2).astype(int) for most in (400, 600))
    quality, kind = world.normal(size=401), world.integers(0, 8, 401)
    taste, price = world.normal(size=(601, 8)), world.lognormal(3, 1, 401)
    liked = 1.5 * quality[item] + taste[user, kind[item]]
    position = draw.integers(1, 11, rows)
    click = draw.random(rows) < sigmoid(liked - 0.7 - 0.1 * position)
    cart = click & (draw.random(rows) < sigmoid(1 - price[item] / 20 + taste[user, 0]))
    order = cart & (draw.random(rows) < sigmoid(0.5 + quality[item] - price[item] / 40))
    viewed = [1 + (400 * draw.random(n) ** 2).astype(int) for n in draw.integers(0, 9, rows)]
    return pl.DataFrame(
        {
            "t": [start + datetime.timedelta(seconds=int(s)) for s in seconds],
            "user_id": user,
            "item_id": item,
            "category": [f"c{k}" for k in kind[item]],
            "words": [list(draw.choice(WORDS, n)) for n in draw.integers(0, 5, rows)],
            "viewed": [items.tolist() for items in viewed],
            "viewed_action": [list(draw.choice(["look", "cart"], len(v))) for v in viewed],
            "price": pl.Series(price[item].round(2)).set(pl.Series(draw.random(rows) < 0.05), None),
            "age": draw.integers(18, 80, rows),
            "position": position,
            "embedding": (quality[item, None] + draw.normal(size=(rows, 4))).round(3).tolist(),
            "click": click.astype(np.int8),
            "cart": cart.astype(np.int8),
            "order": order.astype(np.int8),
            "watch_seconds": (click * draw.exponential(20 * np.exp(liked / 4))).round(1),
        }
    )


def parts(folder: pathlib.Path, frame: pl.DataFrame) -> None:
    """Writes a log as two Parquet files."""
    folder.mkdir()
    for at in (0, 1):
        frame[at::2].write_parquet(folder / f"{at}.parquet")


def logs(folder: pathlib.Path) -> None:
    """logs/: ten days of a shop's impressions."""
    parts(folder / "logs", shop())


def day2(folder: pathlib.Path) -> None:
    """day2/: the days after those of logs/, with users of their own."""
    frame = shop(seed=2, first=1 + DAYS)
    parts(folder / "day2", frame.with_columns(pl.col("user_id") + 40))


GIVEN = {"logs": logs, "day2": day2}
