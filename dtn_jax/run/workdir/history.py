"""What the lines of metrics.jsonl say of a whole run."""

from __future__ import annotations

from collections.abc import Mapping

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


def flat(results: Mapping[str, Mapping[str, float | int | None]]) -> dict:
    """{task@space: {metric: value}} as a record has it, 'task@space/metric': value."""
    return {f"{key}/{name}": value for key, own in results.items() for name, value in own.items()}


def nested(record: dict) -> dict[str, dict]:
    """The inverse of `flat`, of a record of a validation."""
    made = {}
    for name, value in record.items():
        key, slash, metric = name.partition("/")
        if slash:
            made.setdefault(key, {})[metric] = value
    return made
