"""Derived outputs whose ranking calibration changes: what the export and the card say of them."""

from __future__ import annotations

from collections.abc import Iterator

from dtn_jax.export.write.card.measured import Measured
from dtn_jax.schema import Schema

RANKING = {"auc": "AUC", "gauc": "GAUC"}


def told(measured: Measured, schema: Schema, split: str) -> Iterator[str]:
    """A sentence for each derived output whose AUC or GAUC is another one after calibration.

    Args:
      measured: of the model.
      schema: names the tasks and the spaces of their losses.
      split: whose metrics are compared.
    """
    own = {f"{task.name}@{task.space}" for task in schema.tasks}
    for key, before in measured.uncalibrated[split].items():
        after = measured.calibrated[split][key]
        changes = [
            f"{title} {before[name]:.4f} → {after[name]:.4f}"
            for name, title in RANKING.items()
            if None not in (before.get(name), after.get(name))
            and round(before[name], 4) != round(after[name], 4)
        ]
        if changes and key not in own:
            yield (
                f"Calibration changes how {key} ranks, which is derived from more than one task: "
                f"{', '.join(changes)} on {split}."
            )
