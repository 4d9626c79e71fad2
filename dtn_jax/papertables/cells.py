"""A cell is what one run of a table found; it is kept apart from the run, small enough to commit.

Cells are named by the hash of what they compute (the identity options and the data's fingerprint),
so every table that wants the same run shares it, and a table can be resumed or extended.
kept.py says where they are.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

import dtn_jax
from dtn_jax.config import base_config, declarations, differing, flatten, identity
from dtn_jax.data.prepared import Prepared
from dtn_jax.evaluate import read_predictions
from dtn_jax.losses.positive_weights import LOGITS
from dtn_jax.losses.sample_weights import SWITCHES
from dtn_jax.metrics.significance import resampled_aucs
from dtn_jax.papertables import kept
from dtn_jax.papertables.draws import own_spaces, packed, unpacked
from dtn_jax.replicas import train_replicas
from dtn_jax.train import train
from dtn_jax.workdir import check_logits, versions

SHORT = 16  # digits of a hash in a file's name
ORIGIN = ("config", "data", "code", "versions", "date", "device")
CELL = ("results", "train_seconds", "draws", *ORIGIN)  # what a cell's file holds
TUNING = ("settings", "at_edge", *ORIGIN)  # and at least a tuning's


def digest(*facts: object) -> str:
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:SHORT]


def name_of(config: ConfigDict, data: Prepared, changes=None) -> str:
    """The name of the cell of a config: readable, and of what it computes alone.

    `changes` are those of `changed`, or of `changed_before` for the name that it once had.
    """
    own = digest((changes or changed)(config), data.fingerprint)
    return f"{config.model.architecture}-seed{config.seed}-{own}"


def run_name(config: ConfigDict, data: Prepared) -> str:
    """The name of a run's own folder, which refuses a config with any other option."""
    return f"{name_of(config, data)}-{digest(identity(config), data.fingerprint)[:6]}"


def usual() -> dict[str, object]:
    """The defaults that cells and tables do not name: today's, but that no row has a weight, as it
    was when the first ones were made."""
    return flatten(base_config()) | dict.fromkeys(SWITCHES, False)


def changed(config: ConfigDict) -> dict[str, str]:
    """The identity options that are not as usual: a new option makes no cell worthless."""
    defaults = usual()
    found = identity(config)
    return {k: str(v) for k, v in found.items() if v != defaults.get(k)}


def changed_before(config: ConfigDict) -> dict[str, str]:
    """As `changed`, with the options of architectures and experts that the run does not have.

    Cells were once named by those too; they are still found.
    """
    known, defaults = declarations(), usual()
    return {
        key: str(value)
        for key, value in flatten(config).items()
        if not known[key].option.runtime and value != defaults.get(key)
    }


NAMED_BY = (changed, changed_before)  # the names that a cell may have, today's first


def place(folder: pathlib.Path, *names: str) -> pathlib.Path:
    """The first of these files that is kept, else the first: NAME.json in `folder`."""
    paths = [folder / f"{name}.json" for name in names]
    return next((path for path in paths if kept.exists(path)), paths[0])


def read_own(path: pathlib.Path, config: ConfigDict, parts: Sequence[str]) -> dict | None:
    """The cell or tuning of a config; None where it is not there, or computes something else: with
    other defaults, or with positive weights when logits still held log w.

    Raises:
      Damaged: it is damaged, or lacks one of its parts.
      UserError: the pack is damaged.
    """
    found = kept.read(path)
    if found is None:
        return None
    if why := problem(found, parts):
        raise kept.Damaged(f"{path} is damaged ({why})")
    inflated = found.get("logits") != LOGITS and found["config"].get("loss.positive_weights")
    return None if inflated or differing(identity(found["config"]), identity(config)) else found


def problem(found: object, parts: Sequence[str]) -> str:
    """Why this is no cell, or no tuning; '' if it is one."""
    if lacking := sorted({*parts} - {*found}) if isinstance(found, dict) else parts:
        return f"it lacks {', '.join(lacking)}"
    for part in {"config", "settings"} & {*parts}:
        if not isinstance(found[part], dict):
            return f"its {part} is {found[part]!r}"
    try:
        for key in found["draws"] if "draws" in parts else ():
            unpacked(found, key)
        test = found["results"]["test"] if "results" in parts else {}
        numbers = {f"{k} {name}": v for k, own in test.items() for name, v in own.items()}
        bad = [name for name, v in numbers.items() if v is not None and not math.isfinite(v)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{bad[0]} is {numbers[bad[0]]}" if bad else ""


def compute(config: ConfigDict, data: Prepared, run: pathlib.Path) -> dict:
    """Trains, reads test once, and returns the cell."""
    results = train(config, run)
    jax.clear_caches()  # of the many programs of a table each is wanted once
    return found(config, data, run, results)


def compute_together(
    configs: Sequence[ConfigDict], data: Prepared, run: pathlib.Path
) -> list[dict]:
    """The cells of configs that differ in their seeds alone, trained in one program."""
    together = ConfigDict(configs[0].to_dict()).lock()
    together.replicas = "seed=" + ",".join(str(c.seed) for c in configs)
    every = train_replicas(together, run)
    jax.clear_caches()
    made = [
        found(config, data, run / f"replica_{i}", results)
        for i, (config, results) in enumerate(zip(configs, every))
    ]
    for cell in made:  # they shared the time
        if cell["train_seconds"]:
            cell["train_seconds"] /= len(made)
    return made


def found(config: ConfigDict, data: Prepared, run: pathlib.Path, results: dict) -> dict:
    """The cell of a finished run."""
    check_logits(run / "config.json")
    scores = read_predictions(run / "predictions.parquet", data.schema)
    rate = results["examples_per_second"]
    examples = results["steps"] * config.data.batch_size
    sampled = resampled_aucs(scores, data.schema, config.evaluate.sample_weights)
    return {
        "results": results,
        "train_seconds": examples / rate if rate else None,
        "draws": {k: packed(sampled[k], results["test"][k]["auc"]) for k in own_spaces(sampled)},
        **origin(config, data),
    }


def origin(config: ConfigDict, data: Prepared) -> dict:
    """Of what, with what, when and where."""
    return {
        "config": {k: str(v) for k, v in identity(config).items()},
        "logits": LOGITS,
        "data": data.fingerprint,
        "code": code(),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
        "device": f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} cores",
    }


@functools.cache
def code() -> str:
    """The hash of the library's sources: cells of several versions of it are told as such."""
    root = pathlib.Path(dtn_jax.__file__).parent
    sources = sorted(root.rglob("*.py"))
    return digest([(str(p.relative_to(root)), p.read_text()) for p in sources])
