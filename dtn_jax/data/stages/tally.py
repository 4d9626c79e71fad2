"""What became of the values of each split while they were encoded, counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtn_jax.data.encode import Encoded
from dtn_jax.data.stages.split import SPLITS
from dtn_jax.shapes import Bool, UInt8

BySplit = dict[str, dict[str, int]]


@dataclasses.dataclass
class Tally:
    """Counts by split, and there by field or task.

    Attributes:
      values: {split: values kept}.
      unknown: {split: {field: values that became the unknown id}}.
      seen: {split: {field: values kept}}.
      cut: {split: {field: values that found no slot}}.
      missing: {split: {task: rows without this label}}.
    """

    values: dict[str, int]
    unknown: BySplit
    seen: BySplit
    cut: BySplit
    missing: BySplit

    @classmethod
    def of(cls, fields: Iterable[str], tasks: Sequence[str]) -> Tally:
        """Nothing counted yet."""
        fields = list(fields)

        def zeros(names: Sequence[str]) -> BySplit:
            return {split: dict.fromkeys(names, 0) for split in SPLITS}

        by_field = [zeros(fields) for _ in range(3)]
        return cls(dict.fromkeys(SPLITS, 0), *by_field, zeros(tasks))

    def add(
        self,
        split: str,
        columns: Mapping[str, Encoded],
        label_mask: UInt8[np.ndarray, "B T"],
        mask: Bool[np.ndarray, " B"],
    ) -> None:
        """Counts the rows of a mask."""
        for name, column in columns.items():
            ids = column.ids[mask]
            unknown = int((ids == 0).sum())
            kept = unknown + int((ids > 0).sum()) // column.each
            self.unknown[split][name] += unknown
            self.seen[split][name] += kept
            self.values[split] += kept
            if column.cut is not None:
                self.cut[split][name] += int(column.cut[mask].sum())
        rows, known = int(mask.sum()), label_mask[mask].sum(axis=0)
        for task, count in zip(self.missing[split], known, strict=True):
            self.missing[split][task] += rows - int(count)

    def include(self, facts: Mapping) -> None:
        """Adds what another one counted, as `dataclasses.asdict` gives it."""
        for split, count in facts["values"].items():
            self.values[split] += count
        for name in ("unknown", "seen", "cut", "missing"):
            for split, counts in facts[name].items():
                own = getattr(self, name)[split]
                for key, count in counts.items():
                    own[key] += count
