"""What the lines of metrics.jsonl say of a whole run."""

from __future__ import annotations

import numpy as np


def median_rate(history: list[dict]) -> float | None:
    """Examples per second in training: the median over logged spans, None if none was timed."""
    rates = [r.get("examples_per_second") for r in history if r["kind"] == "train"]
    rates = [rate for rate in rates if rate is not None]
    return float(np.median(rates)) if rates else None


def mean_exchange(history: list[dict]) -> dict[str, dict[str, float]]:
    """What a step's devices have exchanged, {packed array: {what: mean over the logged steps}}."""
    found: dict[str, dict[str, list[tuple[float, int]]]] = {}
    before = 0
    for record in (r for r in history if r["kind"] == "train"):
        steps, before = max(record["step"] - before, 1), record["step"]
        for key, value in record.items():
            if key.startswith("exchange/"):
                _, name, what = key.split("/")
                found.setdefault(name, {}).setdefault(what, []).append((value, steps))

    def mean(spans: list[tuple[float, int]]) -> float:
        values, steps = zip(*spans)
        return float(np.average(values, weights=steps))

    return {
        name: {what: mean(spans) for what, spans in by_what.items()}
        for name, by_what in found.items()
    }


def nested(record: dict) -> dict[str, dict]:
    """A validation record, 'task@space/metric': value, as {task@space: {metric: value}}."""
    made = {}
    for name, value in record.items():
        key, slash, metric = name.partition("/")
        if slash:
            made.setdefault(key, {})[metric] = value
    return made
