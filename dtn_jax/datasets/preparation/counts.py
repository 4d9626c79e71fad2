"""What became of the values of a data set's splits while they were encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtn_jax.datasets.preparation.encoders import Bag, Encoded, Encoder


class Counts:
    """Counted frame by frame.

    Attributes:
      values: {split: values kept}.
      kept: {split: {field: values kept}}.
      unknown: {split: {field: values that became the unknown id}}.
      cut: {split: {field: values that found no slot}}.
      missing: {split: {task: rows without this label}}.
    """

    def __init__(
        self, splits: Iterable[str], encoders: Mapping[str, Encoder], tasks: Sequence[str]
    ):
        bags = [name for name, encoder in encoders.items() if isinstance(encoder, Bag)]
        splits, self.tasks = tuple(splits), tasks
        self.values = dict.fromkeys(splits, 0)
        self.kept = {split: dict.fromkeys(encoders, 0) for split in splits}
        self.unknown = {split: dict.fromkeys(encoders, 0) for split in splits}
        self.cut = {split: dict.fromkeys(bags, 0) for split in splits}
        self.missing = {split: dict.fromkeys(tasks, 0) for split in splits}

    def unlabelled(self, rows: Mapping[str, int]) -> list[str]:
        """A line for each task without any label in train; `rows` are those of the splits."""
        return [
            f"task {task!r}: its label is known in no row of train"
            for task, missing in self.missing["train"].items()
            if missing == rows["train"]
        ]

    def add(self, split: str, columns: Mapping[str, Encoded], label_mask: np.ndarray) -> None:
        """Counts a frame's slots and its labels' mask `[rows, T]`."""
        for name, column in columns.items():
            self.unknown[split][name] += int((column.ids == 0).sum())
            kept = int((column.ids >= 0).sum())
            self.kept[split][name] += kept
            self.values[split] += kept
            if column.cut:
                self.cut[split][name] = self.cut[split].get(name, 0) + column.cut
        for task, known in zip(self.tasks, label_mask.sum(axis=0), strict=True):
            self.missing[split][task] += len(label_mask) - int(known)
