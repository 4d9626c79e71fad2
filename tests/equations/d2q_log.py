"""A log of watch times that are the video's duration times what a user thinks of it."""

import datetime

import numpy as np
import polars as pl
from world.log import prepared

from configs.logs import get_config

MOODS = np.linspace(-1.5, 0, 8)  # of each user's mood, the logarithm of the share that is watched
SPREAD = 0.1  # of that logarithm
SCHEMA = """
name: films
fields:
  mood:
  duration: {kind: numeric, buckets: 16}
tasks:
  click:
  watch: {kind: regression, known: click == 1}
time: t
"""


def films(rows, seed=0):
    """Ten days of rows, the columns of SCHEMA and `truth`, the median of watch."""
    draw = np.random.default_rng(seed)
    start = datetime.datetime(2026, 3, 1)
    duration = draw.lognormal(4, 1, rows)
    mood = draw.integers(0, len(MOODS), rows)
    truth = duration * np.exp(MOODS[mood])
    return pl.DataFrame(
        {
            "mood": mood,
            "duration": pl.Series(duration).set(pl.Series(draw.random(rows) < 0.02), None),
            "t": [start + datetime.timedelta(seconds=n * 864000 // rows) for n in range(rows)],
            "click": (draw.random(rows) < 0.8).astype(int),
            "watch": truth * np.exp(SPREAD * draw.normal(size=rows)),
            "truth": truth,
        }
    )


def prepared_films(folder, rows):
    """The log, which is then prepared in the folder."""
    frame = films(rows)
    prepared(folder, frame.drop("truth"), SCHEMA)
    return frame


def config(folder, **changes):
    """A run with d2q of a small model on such a log, at a batch size that eight devices share."""
    found = get_config(f"shared_bottom,schema={folder / 'shop.yaml'}")
    found.data.data_dir, found.data.batch_size = str(folder / "data"), 256
    found.model.experts, found.model.embedding_dim, found.model.expert_dim = "mlp", 4, 16
    found.model.mlp.hidden = found.model.tower_hidden = (16,)
    found.optim.learning_rate = found.optim.table_learning_rate = 0.02
    found.loss.tasks, found.loss.d2q.field = "watch=d2q", "duration"
    found.parallel.devices = 1
    found.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return found
