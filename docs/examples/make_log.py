import pathlib

import numpy as np
import polars as pl

rows, draw = 60_000, np.random.default_rng(0)
user, item = draw.integers(1, 2001, rows), np.minimum(draw.zipf(1.2, rows), 2000)
price = draw.lognormal(2, 1, 2001)[item].round(2)
second = np.sort(draw.integers(0, 10 * 86_400, rows))  # within ten days
quality, taste = draw.normal(size=2001)[item], draw.normal(size=2001)[user]
click = draw.random(rows) < 1 / (1 + np.exp(1 - quality - taste * (item % 3 - 1)))
order = click & (draw.random(rows) < 1 / (1 + price / 8 * np.exp(-taste)))
log = pl.DataFrame({"user_id": user, "item_id": item, "price": price}).with_columns(
    device=pl.Series(draw.choice(["phone", "desktop"], rows)),
    t=pl.datetime(2026, 3, 1) + pl.duration(seconds=pl.Series(second)),
    click=pl.Series(click.astype(int)),
    order=pl.Series(order.astype(int)),
)
pathlib.Path("logs").mkdir(exist_ok=True)
for (day,), part in log.group_by(pl.col("t").dt.date()):
    part.write_parquet(f"logs/{day}.parquet")
